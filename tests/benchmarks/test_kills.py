"""Commands that are killed at random instants and repeated come to what they would have come to.

The long form is ``python benchmarks/kills.py``: 25 instants a command.
"""

from __future__ import annotations

import importlib
import signal
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def kills():
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(benchmarks))
        patch.setenv("OMP_NUM_THREADS", "1")
        kills = importlib.import_module("kills")
        patch.setattr(kills, "_PROMPT", kills._PATIENCE)  # how busy this machine is nobody knows
        yield kills


@pytest.fixture(scope="module")
def place(kills, tmp_path_factory):
    place = kills.Place(tmp_path_factory.mktemp("kills"))
    place.prepare("correlate")
    return place


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        ("train", signal.SIGKILL),
        ("search", signal.SIGTERM),
        ("retrain", signal.SIGINT),
        ("correlate", signal.SIGKILL),
    ],
)
def test_what_is_killed_and_repeated_ends_the_same(kills, place, command, sent):
    outcome = kills.strike(command, place, 1, seed=0, sent=sent, again=0)
    assert outcome.faults == []
    assert (outcome.kills, outcome.identical) == (1, 1)
