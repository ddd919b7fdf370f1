from __future__ import annotations

from dataclasses import replace

from smash.io.measurements import MeasurementLog
from smash.reporting.contents import read_contents
from smash.reporting.latencies import latency_rows
from smash.run.layout import STUDY
from smash.study.study import Study
from tests.reporting.made import contents_of, write
from tests.study.candidates import make_candidate


def test_fronts_are_of_the_costs_that_all_candidates_have(contents, some):
    assert list(contents.fronts) == ["params", "macs", "memory", "flash"]
    cheapest = min(each.params for each in some if not each.partial)
    assert contents.fronts["params"][0].params == cheapest
    assert contents_of([]).fronts == {}


def test_contents_of_a_study_that_grows_meanwhile_rank_all_their_candidates(tmp_path, monkeypatch):
    found, ranked = write(tmp_path / "run"), Study.ranked

    def grow(study):
        before = ranked(study)
        Study(tmp_path / "run" / STUDY, create=True).add(make_candidate("late"))
        return before

    monkeypatch.setattr(Study, "ranked", grow)
    contents = read_contents(tmp_path / "run")
    assert [each.id for each in contents.candidates] == [each.id for each in found]
    assert contents.ranks.keys() == {each.id for each in found}


def test_latency_rows_has_a_row_for_each_timed_candidate(tmp_path, some):
    measurements = MeasurementLog(tmp_path / "latency.jsonl")
    measurements.add("latency device=cuda threads=2", "a", {"seconds": 0.002, "spread": 0.0002})
    measurements.add("graphs threads=2", "b", {"seconds": 0.003, "spread": 0.0004})
    measurements.flush()
    first = some[0]
    ranked = [replace(first, id="a"), replace(first, id="b", latency=0.005), replace(first, id="c")]
    assert latency_rows(tmp_path, ranked) == [
        ("0", "a", "2.00 ± 0.10", "cuda", "2", "", ""),
        ("1", "b", "5.00", "", "", "3.00 ± 0.20", "2"),
    ]


def test_a_child_that_the_user_named_like_those_of_the_trust_check_is_shown(tmp_path):
    write(tmp_path / "run")
    contents = read_contents(tmp_path / "run")
    (first, *_) = (child for child in contents.children if child.result)
    named = replace(first, name="code-audit")
    assert not named.audited
    assert replace(named, result={}).audited
