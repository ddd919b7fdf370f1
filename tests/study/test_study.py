from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from smash.errors import NotFoundError, RunStateError
from smash.spaces import NasBench201Space
from smash.study.study import Study
from tests.study.candidates import make_candidate

ONE = make_candidate("one", architecture={"blocks": [1, 2]}, trace={4: 0.75, 8: 0.5})
DROPPED = make_candidate(
    "two", index=1, partial=True, proxy=(-float("inf"), 2.0), latency=0.01,
    architecture={"blocks": [3]},
)  # fmt: skip
READABLE = {"depth": 3.0, "width": 12.5}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "study.journal"
    study = Study(path, create=True)
    study.settings = {"seed": 2, "prior": "params"}
    for candidate in (ONE, DROPPED):
        study.add(candidate, READABLE)
    return path


def open_with_optuna(path: Path) -> optuna.Study:
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(storage=storage, study_name="smash")


def test_study_is_read_as_it_was_written(path):
    study = Study(path)
    assert study.candidates() == [ONE, DROPPED]
    assert {"seed": 2, "prior": "params"}.items() <= (study.settings or {}).items()
    assert study.prior == "params"
    assert study.readable() == {"one": READABLE, "two": READABLE}


def test_study_of_a_space_writes_and_reads_its_architectures(tmp_path):
    space = NasBench201Space()
    path = tmp_path / "study.journal"
    candidate = make_candidate(architecture=space.smallest())
    Study(path, space, create=True).add(candidate)
    assert Study(path, space).candidates() == [candidate]
    assert Study(path).candidates()[0].architecture == space.to_json(space.smallest())
    assert Study(path).readable() == {"a": dict(space.readable(space.smallest()))}


def test_study_is_an_optuna_study(path):
    trials = open_with_optuna(path).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED"]
    assert [trial.value for trial in trials] == [ONE.value, DROPPED.value]
    assert trials[0].intermediate_values == ONE.trace
    assert trials[0].params == {**READABLE, "params": 100.0, "macs": 1000.0}


def test_readable_of_some_candidates_leaves_out_the_others(tmp_path):
    study = Study(tmp_path / "study.journal", create=True)
    written = [make_candidate(name) for name in "ab"]
    for candidate in written:
        study.add(candidate, {"depth": 2.0})
    study.read_architectures(written)  # a journal has read them
    assert study.readable() == {"a": {"depth": 2.0}, "b": {"depth": 2.0}}
    assert study.readable(written[1:]) == {"b": {"depth": 2.0}}


def test_study_counts_an_architecture_once(path):
    study = Study(path, create=True)
    study.add(make_candidate("one", 0.1))
    assert study.candidates() == Study(path).candidates() == [ONE, DROPPED]


def test_reader_sees_what_is_added_later(path):
    reader = Study(path)
    assert len(reader.candidates()) == 2
    Study(path, create=True).add(make_candidate("three"))
    assert [each.id for each in reader.candidates()] == ["one", "two", "three"]


def test_study_holds_a_candidate_that_costs_nothing(path):
    free = make_candidate("free", params=0, macs=0)
    Study(path, create=True).add(free)
    assert Study(path).candidates()[-1] == free


def test_study_that_another_program_changed_is_read(path):
    other = open_with_optuna(path)
    other._storage.set_study_system_attr(other._study_id, "seen", 1)
    assert Study(path).candidates() == [ONE, DROPPED]


@pytest.mark.parametrize(
    ("text", "damaged"),
    [
        ('"architecture":', '"architektur":'),
        (r"{\"blocks\"", r"{\"blocks"),
        (r'"{\"blocks\":[1,2]}"', '"[1]"'),
        ('"error":0.1', '"error":"many"'),
        ('"loss":0.5', '"los":0.5'),
        ('"macs":1000,"', '"macs":[],"'),
        ('"op_code":4', '"op_code":44'),
    ],
)
def test_damaged_study_is_refused(path, text, damaged):
    assert text in path.read_text()
    path.write_text(path.read_text().replace(text, damaged))
    with pytest.raises(RunStateError, match=r"study\.journal is damaged"):
        Study(path).candidates()


def test_study_with_damaged_settings_is_refused(path):
    path.write_text(
        path.read_text().replace('{"settings":{', '{"settings":[{').replace("}}}", "}]}}")
    )
    with pytest.raises(RunStateError, match="damaged"):
        _ = Study(path).settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("rank_by", "id"), ("rank_by", ["loss"]), ("objectives", 5), ("objectives", ["bogus"])),
        *(("prior", "bogus"), ("prior", ["params"]), ("prior", 1), ("split", "train")),
        *(("examples", 10**400), ("examples", 0), ("precision", "fp64")),
    ],
)
def test_study_with_a_foreign_setting_is_refused_by_its_name(tmp_path, name, value):
    Study(tmp_path / "study.journal", create=True).settings = {"seed": 2, name: value}
    with pytest.raises(RunStateError, match=rf"study\.journal is damaged \(.*{name}"):
        _ = Study(tmp_path / "study.journal").settings


def test_study_whose_proxies_do_not_suit_its_prior_is_refused(tmp_path):
    study = Study(tmp_path / "study.journal", create=True)
    study.settings = {"prior": "params"}
    study.add(ONE)
    study.add(make_candidate("three", proxy=()))
    with pytest.raises(RunStateError, match="damaged"):
        study.ranking()


def test_study_of_another_space_is_refused(path):
    with pytest.raises(RunStateError, match="damaged"):
        Study(path, NasBench201Space()).candidates()


def test_study_that_does_not_exist_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match="has no candidates"):
        Study(tmp_path / "study.journal")
