"""File locks: one process at a time works in a folder, and a killed process holds nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from filelock import FileLock

import smash
from smash.errors import RunStateError
from smash.io.locks import exclusive, hold, temporary_folder
from tests.conftest import TINY
from tests.processes import begin, in_process


def _hold(folder, work):
    with hold(folder, work):
        (folder / "held").touch()
        time.sleep(600)  # until it is killed


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder for a search."""
    process = begin(_hold, tmp_path, "search")
    while not (tmp_path / "held").exists():
        assert process.is_alive()
        time.sleep(0.01)
    yield process
    process.kill()
    process.join()


def test_hold_by_two_processes_refuses_the_second_and_names_the_first(tmp_path, holder):
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    message = f"in use: process {holder.pid} on .* runs 'smash search'"
    for _ in range(2):  # the first refusal must not erase the owner's name
        with pytest.raises(RunStateError, match=message), hold(tmp_path, "search"):
            pytest.fail("both hold it")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with hold(tmp_path, "retrain"):  # other work has another lock
        pass


def test_hold_after_its_owner_was_killed_succeeds(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert (tmp_path / ".search.owner").exists()
    with hold(tmp_path, "search"):
        pass
    assert not (tmp_path / ".search.owner").exists()


def test_hold_is_released_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), hold(tmp_path, "train"):
        _ = 1 / 0
    with hold(tmp_path, "train"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".train.lock"]


@pytest.mark.parametrize("name", [".search.lock", ".search.owner"])
def test_hold_never_writes_through_a_link(tmp_path, name):
    decoy, folder = tmp_path / "decoy", tmp_path / "run"
    decoy.write_text("kept")
    folder.mkdir()
    (folder / name).symlink_to(decoy)
    with pytest.raises(RunStateError, match=f"{name} is a link"), hold(folder, "search"):
        pytest.fail("a folder with a link was locked")
    assert decoy.read_text() == "kept"


def _write_temporarily(folder):
    with temporary_folder(folder, "work") as made:
        (made / "file").touch()
        time.sleep(600)  # until it is killed


def test_temporary_folder_removes_those_of_killed_processes_alone(tmp_path):
    users = tmp_path / ".work-of-the-user"
    users.mkdir()
    process = begin(_write_temporarily, tmp_path)
    while not (files := list(tmp_path.glob(".work-*/file"))):
        assert process.is_alive()
        time.sleep(0.01)
    (theirs,) = (file.parent for file in files)
    with temporary_folder(tmp_path, "work") as ours, temporary_folder(tmp_path, "work") as other:
        assert {*tmp_path.iterdir()} == {theirs, ours, other, users}
    process.kill()
    process.join()
    assert {*tmp_path.iterdir()} == {theirs, users}
    with temporary_folder(tmp_path, "work") as ours:
        assert {*tmp_path.iterdir()} == {ours, users}
    assert [*tmp_path.iterdir()] == [users]


def test_temporary_folder_that_another_process_locked_first_is_made_again(tmp_path, monkeypatch):
    """As another one does that takes a new folder for one that a killed process left."""
    locks = []

    class Overtaken(TemporaryDirectory):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            if not locks:
                locks.append(FileLock(Path(self.name, ".alive.lock")))
                locks[0].acquire()

    monkeypatch.setattr("smash.io.locks.TemporaryDirectory", Overtaken)
    with temporary_folder(tmp_path, "work") as made:
        assert made != Path(locks[0].lock_file).parent
        locks[0].release()
        assert made.exists()
    assert not [*tmp_path.iterdir()]


def _append_many(path, writer):
    for number in range(100):
        with exclusive(path), path.open("a") as file:
            file.write(f"{writer} ")
            file.flush()
            file.write(f"{number}\n")


def test_exclusive_appends_of_two_processes_do_not_mix(tmp_path):
    path = tmp_path / "lines"
    other = begin(_append_many, path, "a")
    assert in_process(_append_many, path, "b") == 0
    other.join()
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(f"{writer} {n}" for writer in "ab" for n in range(100))


def test_commands_are_refused_while_another_process_works(run, digits):
    with hold(run.path, "search"), pytest.raises(RunStateError, match="in use"):
        smash.search(run, random=2, device="cpu")
    assert not run.study_path.exists()
    smash.search(run, random=2, perturb=0, markov=0, device="cpu")
    smash.retrain(run, rank=1, epochs=1, device="cpu")
    (child,) = (run.path / "children").iterdir()
    (child / "result.json").unlink()
    with hold(child, "retrain"), pytest.raises(RunStateError, match="in use"):
        smash.retrain(run, rank=1, epochs=1, device="cpu")
    (run.path / "network.safetensors").unlink()
    with hold(run.path, "train"), pytest.raises(RunStateError, match="in use"):
        smash.train(None, run.path, resume=True)
    assert not run.trained


def test_two_trainings_that_make_the_same_run_are_refused(digits, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    with hold(out, "train"), pytest.raises(RunStateError, match="in use"):
        smash.train(digits, out, epochs=1, **TINY)
    assert [path.name for path in out.iterdir()] == [".train.lock"]
