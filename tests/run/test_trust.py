from __future__ import annotations

import json
import math

import pytest

from smash.errors import RunStateError
from smash.io.records import Interval
from smash.run.layout import FOUND
from smash.run.trust import Trust
from tests.reporting.made import trust

TAU = Interval(value=0.5, low=0.25, high=math.nan)


@pytest.fixture
def kept(tmp_path):
    """A run folder with nothing but a check of its ranking."""
    record = trust(TAU, points=[("a", 1.5, 0.9), ("b", math.nan, 0.8)], params=TAU)
    record.write(tmp_path / FOUND)
    return tmp_path, record


def test_trust_of_run_reads_what_was_written(kept):
    folder, record = kept
    text = (folder / FOUND).read_text()
    assert "NaN" not in text  # which is not JSON
    read = Trust.of_run(folder)
    assert read is not None
    assert read.model_dump() == record.model_dump()
    assert math.isnan(read.kendall_tau.high)
    assert [point.has_score for point in read.points] == [True, False]


def test_trust_of_run_before_the_first_check_is_none(tmp_path):
    assert Trust.of_run(tmp_path) is None


def test_tau_of_is_that_of_the_ranking_asked_for(kept):
    other = TAU.model_copy(update={"value": 0.7})
    record = kept[1].model_copy(
        update={
            "together": {
                "macs": kept[1].baselines["params"].model_copy(update={"kendall_tau": other})
            }
        }
    )
    assert record.tau_of("loss", None) == record.kendall_tau
    assert record.tau_of("loss", "macs") == other
    assert record.tau_of("loss", "naswot") is None
    assert record.tau_of("error", "macs") is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", "four"),
        ("n", 10**400),
        ("n", -1),
        ("n", None),
        ("kendall_tau", {"value": 10**400, "low": 0.0, "high": 1.0}),
        ("kendall_tau", {"value": "0.5", "low": 0.0, "high": 1.0}),
        ("regret", {"first": 0.5}),
        ("regret", {"1": "0.5"}),
        ("top_precision", 10**400),
        ("baselines", [1]),
        ("points", [{"id": "a", "score": 10**400, "accuracy": 1.0}]),
        ("points", [["a", 1.0, 0.5]]),
        ("truth", ["words"]),
        ("unheard-of", 1),
    ],
    ids=range(14),
)
def test_trust_of_run_with_other_values_is_damaged(kept, field, value):
    folder, _ = kept
    document = json.loads((folder / FOUND).read_text())
    (folder / FOUND).write_text(json.dumps({**document, field: value}))
    with pytest.raises(RunStateError, match=f"trust.json is damaged: .*{field}.*smash correlate"):
        Trust.of_run(folder)
