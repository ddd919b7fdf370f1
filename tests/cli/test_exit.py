"""Exit codes, and the lines that go with them."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time

import pytest
import typer
from typer.main import get_command

from smash.cli import main as cli
from smash.cli.exit import exit_for
from smash.errors import DivergedError, InvalidValueError, LostProcessError
from smash.runtime.signals import Terminated
from tests.processes import in_process

RESUMABLE = ("search", "retrain", "compare", "correlate", "evaluate.py")
UNCHANGING = ("show", "evaluate", "export", "predict", "report", "data")


def _signal_at_the_end(log):
    """Runs the program and sends it SIGINT while its process ends."""
    for number in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    sys.argv = ["smash", "--version"]
    try:
        cli.program()
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)


def test_program_interrupted_while_it_ends_prints_no_traceback(tmp_path):
    assert in_process(_signal_at_the_end, tmp_path / "log") == -signal.SIGINT
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InvalidValueError("a must be b"), 2, "p: a must be b"),
        (DivergedError("the loss is\nnan"), 1, "p: the loss is nan"),
        (KeyboardInterrupt(), 130, "p: interrupted; nothing was changed"),
        (Terminated(), 143, "p: interrupted; nothing was changed"),
        (
            OSError(errno.ENOSPC, "No space left", "a/b"),
            1,
            "p: a/b: No space left: everything saved",
        ),
        (OSError(errno.EIO, "Input/output error"), 1, "p: output: Input/output error"),
        (MemoryError(), 1, "p: out of memory: choose a smaller --batch-size"),
        (
            RuntimeError("CUDA out of memory. Tried\nx"),
            1,
            "p: out of memory (CUDA out of memory. T",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: y"), 1, "p: out of memory (Def"),
        (ImportError("a.so: failed to map segment from x"), 1, "p: out of memory (a.so: failed to"),
        (RuntimeError("could not create a primitive"), 1, "p: out of memory (could not create"),
        (InvalidValueError("x" * 10**7), 2, "p: xxxx"),
    ],
)
def test_exit_for_an_error_prints_one_line_and_has_its_code(capsys, error, code, line):
    with pytest.raises(SystemExit) as left:
        exit_for("p", error)
    assert left.value.code == code
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(line)
    assert len(said) < 1100


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train", "the state is saved; repeat the command to continue, with --resume if the run"),
        ("train.py", "the state is saved; repeat the command to continue, with --resume if"),
        *((name, "the state is saved; repeat the command to continue\n") for name in RESUMABLE),
        ("demo", "its run folder keeps what was finished; the same command starts another"),
        *((name, "nothing was changed; repeat the command\n") for name in UNCHANGING),
    ],
)
def test_exit_for_an_interruption_says_what_the_command_leaves(capsys, command, words):
    with pytest.raises(SystemExit):
        exit_for("smash", KeyboardInterrupt(), command)
    assert capsys.readouterr().err.startswith(f"smash: interrupted; {words}")


@pytest.mark.parametrize("before", [[], ["--space", "net.py:net"], ["--space=net.py:net"]])
def test_interruption_behind_a_space_says_what_the_command_leaves(capsys, monkeypatch, before):
    def interrupted(app, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(typer.Typer, "__call__", interrupted)
    monkeypatch.setattr(sys, "argv", ["smash", *before, "train", "digits", "--out", "search"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "with --resume if the run folder exists" in capsys.readouterr().err


def test_every_command_has_a_message_for_interruptions():
    known = {*RESUMABLE, *UNCHANGING, "train", "demo"} - {"evaluate.py"}
    assert known == set(get_command(cli.app).commands)


def test_exit_for_a_bug_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="shapes differ"):
        exit_for("p", RuntimeError("shapes differ"))


def test_exit_for_prints_in_the_first_process_unless_it_is_lost(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    for error, said in ((InvalidValueError("a"), ""), (LostProcessError("b"), "p: b\n")):
        with pytest.raises(SystemExit):
            exit_for("p", error)
        assert capsys.readouterr().err == said


def _to_a_closed_pipe(log):
    import os

    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
    try:
        print("x" * 100_000, flush=True)
    except BrokenPipeError as error:
        exit_for("p", error)


def test_exit_for_a_closed_pipe_prints_nothing(tmp_path):
    log = tmp_path / "log"
    assert in_process(_to_a_closed_pipe, log) == 1
    assert log.read_text() == ""
