"""How a program ends: with a line, and a code that says what kind of end it is."""

from __future__ import annotations

import errno

import pytest
from typer.main import get_command

from smash.cli import main as cli
from smash.cli.exit import leave
from smash.errors import DivergedError, InvalidValueError, LostProcessError
from smash.runtime.signals import Terminated
from tests.processes import in_process

GOING_ON = ("search", "retrain", "correlate", "evaluate.py")
CHANGING_NOTHING = ("show", "evaluate", "export", "predict", "report", "data")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InvalidValueError("a must be b"), 2, "p: a must be b"),
        (DivergedError("the loss is\nnan"), 1, "p: the loss is nan"),
        (KeyboardInterrupt(), 130, "p: interrupted; nothing was changed"),
        (Terminated(), 143, "p: interrupted; nothing was changed"),
        (OSError(errno.ENOSPC, "No space left", "a/b"), 1, "p: a/b: No space left: what was saved"),
        (OSError(errno.EIO, "Input/output error"), 1, "p: output: Input/output error"),
        (MemoryError(), 1, "p: out of memory: a smaller --batch-size"),
        (
            RuntimeError("CUDA out of memory. Tried\nx"),
            1,
            "p: out of memory (CUDA out of memory. T",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: y"), 1, "p: out of memory (Def"),
    ],
)
def test_each_end_has_a_code_and_one_line(capsys, error, code, line):
    with pytest.raises(SystemExit) as left:
        leave("p", error)
    assert left.value.code == code
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(line)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train", "the state is saved, and the same command goes on, with --resume"),
        ("train.py", "the state is saved, and the same command goes on, with --resume"),
        *((name, "the state is saved, and the same command goes on\n") for name in GOING_ON),
        ("demo", "what was made is kept in its run folder"),
        *((name, "nothing was changed: repeat the command\n") for name in CHANGING_NOTHING),
    ],
)
def test_an_interruption_says_what_the_command_leaves(capsys, command, words):
    with pytest.raises(SystemExit):
        leave("smash", KeyboardInterrupt(), command)
    assert capsys.readouterr().err.startswith(f"smash: interrupted; {words}")


def test_each_command_says_what_it_leaves():
    assert {*GOING_ON, *CHANGING_NOTHING, "train", "demo"} >= set(get_command(cli.app).commands)


def test_a_fault_of_the_program_shows_where_it_is():
    with pytest.raises(RuntimeError, match="shapes differ"):
        leave("p", RuntimeError("shapes differ"))


def test_of_several_processes_the_first_speaks_unless_it_is_gone(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    for error, said in ((InvalidValueError("a"), ""), (LostProcessError("b"), "p: b\n")):
        with pytest.raises(SystemExit):
            leave("p", error)
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
        leave("p", error)


def test_a_reader_that_has_seen_enough_is_no_matter(tmp_path):
    log = tmp_path / "log"
    assert in_process(_to_a_closed_pipe, log) == 1
    assert log.read_text() == ""
