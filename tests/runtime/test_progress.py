from __future__ import annotations

import sys

import pytest

from smash.runtime import progress


class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_lines_tell_how_much_time_is_left(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with progress.on_terminal("training", 40) as advance:
        for done in range(1, 41):
            clock.now += 1.5
            advance(done, f"word {done}")
    lines = capsys.readouterr().err.splitlines()
    # One a ten seconds, that is every seventh step; and one at the end.
    assert lines[0].startswith("training 7/40, ")
    assert lines[-1] == "training 40/40, 0:00 left  word 40"
    assert len(lines) == 6
    # After 7 steps of 1.5 s, 33 are left: 33 × 10.5 s / 6, since the first step counts as begun.
    assert "0:58 left" in lines[0]


def test_a_resumed_work_counts_only_what_is_done_now(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with progress.on_terminal("search", 1000) as advance:
        for done in (991, 992, 993):
            clock.now += 10
            advance(done, "")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("search 993/1000, 1:45 left")  # 30 s for 2 more after the first


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.on_terminal("training", 3) as advance:
        advance(3, "loss 0.1")
    shown = capsys.readouterr().err
    assert "training" in shown
    assert "3/3" in shown


def test_silence_is_silent(capsys):
    with progress.silent("training", 3) as advance:
        advance(1, "x")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "0:00"), (59.6, "1:00"), (3723, "62:03")])
def test_durations_are_minutes_and_seconds(seconds, told):
    assert progress._duration(seconds) == told
