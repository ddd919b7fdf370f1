"""The long form is ``python -m benchmarks.kills``: 25 instants a command."""

from __future__ import annotations

import signal

import pytest

from benchmarks import kills

SMALLER = {
    "train": "--epochs 2",
    "search": "--random 8 --perturb 2 --markov 1",
    "retrain": "--epochs 1",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(kills, "_PROMPT", kills._PATIENCE)  # the machine may be busy
        for name, more in SMALLER.items():  # of options given twice the last counts
            patch.setitem(kills.COMMANDS, name, f"{kills.COMMANDS[name]} {more}")
        place = kills.Place(tmp_path_factory.mktemp("kills"))
        place.prepare("correlate")
        yield place


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        ("train", signal.SIGKILL),
        ("search", signal.SIGTERM),
        ("retrain", signal.SIGINT),
        ("correlate", signal.SIGKILL),
    ],
)
def test_command_killed_and_repeated_ends_with_the_same_run(place, command, sent):
    outcome = kills.strike(command, place, 1, seed=0, sent=sent, again=0)
    assert outcome.faults == []
    assert (outcome.kills, outcome.identical) == (1, 1)


def test_search_killed_with_the_lock_of_the_journal_goes_on(place):
    outcome = kills.strike_lock(place, 1, seed=0)
    assert outcome.faults == []
    assert (outcome.kills, outcome.identical) == (1, 1)
