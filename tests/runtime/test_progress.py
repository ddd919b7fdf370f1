from __future__ import annotations

import errno
import io
import sys

import pytest

from smash.runtime import progress


class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_lines_show_the_time_left(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with progress.on_terminal("training", 40) as advance:
        for done in range(1, 41):
            clock.now += 1.5
            advance(done, f"word {done}")
    lines = capsys.readouterr().err.splitlines()
    # One line every ten seconds, which is every seventh step, and one at the end.
    assert lines[0].startswith("training 7/40, ")
    assert lines[-1] == "training 40/40  word 40"
    assert len(lines) == 6
    # 33 steps are left after 7 of 1.5 s: 33 × 10.5 s / 6, since the first step is the start.
    assert "0:58 left" in lines[0]


def test_lines_of_resumed_work_count_only_the_new_steps(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with progress.on_terminal("search", 1000) as advance:
        for done in (991, 992, 993):
            clock.now += 10
            advance(done, "")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("search 993/1000, 1:45 left")  # 30 s for 2 more after the first


def test_on_terminal_with_a_terminal_shows_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.on_terminal("training", 3) as advance:
        advance(3, "loss 0.1")
    shown = capsys.readouterr().err
    assert "training" in shown
    assert "3/3" in shown


@pytest.mark.parametrize("is_terminal", [False, True])
def test_on_terminal_after_the_terminal_closed_lets_work_go_on(monkeypatch, is_terminal):
    class Closed(io.StringIO):
        def write(self, text):
            raise OSError(errno.EIO, "Input/output error")

        def isatty(self):
            return is_terminal

    monkeypatch.setattr(sys, "stderr", Closed())
    with progress.on_terminal("training", 2) as advance:
        advance(1, "loss 0.1")
        advance(2, "loss 0.1")


def test_silent_prints_nothing(capsys):
    with progress.silent("training", 3) as advance:
        advance(1, "x")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3723, "62:03")])
def test_duration_is_minutes_and_seconds(seconds, text):
    assert progress._duration(seconds) == text


def test_lines_tell_no_time_after_one_unit_and_the_end_once(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with progress.on_terminal("search", 3) as advance:
        clock.now += 20
        advance(1, "random")
        clock.now += 20
        advance(3, "")
        advance(3, "markov, best 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["search 1/3  random", "search 3/3  markov, best 0.5"]


def test_automatic_progress_prints_nothing_into_a_pipe(capsys):
    with progress.automatic("training", 3) as advance:
        advance(3, "x")
    assert capsys.readouterr() == ("", "")
