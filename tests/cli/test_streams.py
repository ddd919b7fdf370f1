"""A world that fails: a full disk, folders that cannot be written to, output that nobody takes.

The commands run in processes of their own, which the system really refuses something.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from smash.cli import main as cli
from smash.io.tensors import load_tensors
from smash.study.study import Study
from tests.answers import TRAIN, Answer, content
from tests.cli.test_main import photos
from tests.processes import begin, in_process, without_rights

SEARCH = "search RUN --random 5 --perturb 1 --markov 1 --device cpu"


def _work(line: str, log: Path, largest: int | None, rights: bool, output: str | None) -> None:
    """Runs a command in a process that may write no larger files, or not everywhere."""
    for number, path in ((1, output or f"{log}.out"), (2, f"{log}.err")):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    torch.set_num_threads(1)
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    if not rights:
        without_rights()
    sys.argv = ["smash", *line.split()]
    cli.main()


@pytest.fixture
def smash(tmp_path):
    """Runs a command where the world fails."""

    def run(
        line: str, largest: int | None = None, rights: bool = True, output: str | None = None
    ) -> Answer:
        log = tmp_path / "log"
        code = in_process(_work, line, log, largest, rights, output)
        out = Path(f"{log}.out").read_text() if output is None else ""
        return Answer(-1 if code is None else code, out, Path(f"{log}.err").read_text())

    return run


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def failed(answer: Answer, *named: str) -> None:
    assert answer.code == 1, answer
    assert "Traceback" not in answer.err
    (line,) = answer.faults
    for word in named:
        assert word in line


def test_a_search_on_a_full_disk_keeps_its_scores_and_goes_on(smash, run, finished, tmp_path):
    line = SEARCH.replace("RUN", str(run))
    before = Study(run / "study.journal").candidates()
    size = (run / "study.journal").stat().st_size
    room = size // len(before) // 3  # for a part of the next line
    failed(
        smash(line, largest=size + room),
        "study.journal",
        "File too large",
        "is intact",
    )
    assert (run / "study.journal").stat().st_size > size  # what was written of it
    assert Study(run / "study.journal").candidates() == before

    assert smash(line).code == 0
    whole = Path(shutil.copytree(finished, tmp_path / "whole"))
    assert smash(SEARCH.replace("RUN", str(whole))).code == 0
    wanted = Study(whole / "study.journal").candidates()
    assert Study(run / "study.journal").candidates() == wanted


def test_a_training_on_a_full_disk_keeps_its_state_and_goes_on(smash, run, tmp_path):
    wanted, _ = load_tensors(run / "network.safetensors")
    out = tmp_path / "again"
    line = f"{TRAIN} --epochs 1 --out {out}"
    failed(smash(line, largest=20_000), "state.safetensors", "File too large", "is intact")
    assert not (out / "state.safetensors").exists()
    assert not [name for name in content(out) if name.endswith(".tmp")]

    assert smash(f"{line} --resume").code == 0
    found, _ = load_tensors(out / "network.safetensors")
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_a_folder_that_cannot_be_written_to_is_read_all_the_same(smash, run):
    for path in (*run.rglob("*"), run):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = content(run)
    (child,) = (run / "children").iterdir()
    for line in (
        SEARCH.replace("RUN", str(run)),
        f"retrain {run} --rank 1 --epochs 1 --device cpu",
        f"train digits --space memory-bank --preset tiny --epochs 1 --device cpu --out {run}/other",
    ):
        failed(smash(line, rights=False), "Permission denied", "the permission")
    for line in (f"show {run}", f"evaluate {child} --device cpu"):
        assert smash(line, rights=False).code == 0
    assert content(run) == before
    for path in (run, *run.rglob("*")):
        path.chmod(0o755)


def test_output_that_the_system_does_not_take_is_a_failure_in_a_line(smash, run):
    failed(smash(f"show {run}", output="/dev/full"), "output", "No space left on device")


def test_a_lock_of_the_journal_that_a_kill_left_is_waited_out(smash, run):
    (run / "study.journal.lock").symlink_to(run / "study.journal")
    assert smash(f"show {run}").code == 0  # readers wait for nobody
    assert smash(SEARCH.replace("RUN", str(run))).code == 0
    assert len(Study(run / "study.journal").candidates()) == 7


def test_one_search_of_two_at_once_is_refused_and_the_other_loses_nothing(smash, run, tmp_path):
    line = SEARCH.replace("RUN", str(run)).replace("--random 5", "--random 500")
    process = begin(_work, line, tmp_path / "first", None, True, None)
    while not (run / ".search.owner").exists():
        assert process.is_alive()
        time.sleep(0.01)
    second = smash(line)
    assert second.code == 2
    assert "is in use" in second.faults[0]
    os.kill(int(process.pid or 0), signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    err = Path(f"{tmp_path / 'first'}.err").read_text()
    assert "the state is saved" in err.splitlines()[-1]
    assert len(Study(run / "study.journal").candidates()) >= 5


def _with_streams(line: str, log: Path, encoding: str | None) -> None:
    """Runs a command with closed streams, or with those of an encoding."""
    for number, suffix in enumerate(("in", "out", "err")):
        if encoding is None:
            os.close(number)
            setattr(sys, f"std{suffix}", None)
        elif number:
            stream = open(f"{log}.{suffix}", "w", encoding=encoding)  # noqa: PTH123, SIM115
            setattr(sys, f"std{suffix}", stream)
    sys.argv = ["smash", *line.split()]
    cli.main()


def test_closed_streams_are_replaced_by_the_null_device(run, tmp_path):
    assert in_process(_with_streams, f"show {run}", tmp_path / "log", None) == 0
    assert in_process(_with_streams, "show nowhere", tmp_path / "log", None) == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_names_outside_the_encoding_of_the_output_are_escaped(tmp_path, encoding):
    folder = photos(tmp_path / "photos", {"日本": 3, "💥": 3})
    assert in_process(_with_streams, f"data check {folder}", tmp_path / "log", encoding) == 0
    shown = (tmp_path / "log.out").read_text()
    assert "2 examples of 2 classes (\\u65e5\\u672c 1, \\U0001f4a5 1)" in shown
