"""One process at a time, and a lock that outlives nobody."""

from __future__ import annotations

import os
import signal
import time

import pytest

import smash
from smash.errors import RunStateError
from smash.io.locks import hold
from tests.conftest import TINY
from tests.processes import begin


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


def test_the_second_is_refused_with_the_reason_and_leaves_nothing(tmp_path, holder):
    before = sorted(tmp_path.iterdir())
    words = f"in use: process {holder.pid} on .* 'smash search'"
    with pytest.raises(RunStateError, match=words), hold(tmp_path, "search"):
        pytest.fail("both hold it")
    assert sorted(tmp_path.iterdir()) == before
    with hold(tmp_path, "retrain"):  # other work is another thing
        pass


def test_a_dead_owner_holds_nothing(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert (tmp_path / ".search.lock").exists()
    with hold(tmp_path, "search"):
        pass
    assert not (tmp_path / ".search.lock").exists()


def test_it_is_let_go_of_after_an_error_too(tmp_path):
    with pytest.raises(ZeroDivisionError), hold(tmp_path, "train"):
        _ = 1 / 0
    with hold(tmp_path, "train"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_who_opened_a_lock_that_was_removed_meanwhile_does_not_hold_it(tmp_path, monkeypatch):
    path = tmp_path / ".train.lock"
    opened = []
    real = os.open

    def removed_meanwhile(name, *arguments):
        number = real(name, *arguments)
        if not opened:
            path.unlink()  # as its former holder does at the end
        opened.append(name)
        return number

    monkeypatch.setattr(os, "open", removed_meanwhile)
    with hold(tmp_path, "train"):
        assert path.exists()
    assert len(opened) == 2


def test_two_at_once_are_refused_and_nothing_changes(run, digits):
    with hold(run.path, "search"), pytest.raises(RunStateError, match="in use"):
        smash.search(run, random=2, device="cpu")
    assert not run.study_path.exists()
    smash.search(run, random=2, perturb=0, markov=0, device="cpu")
    smash.retrain(run, 1, epochs=1, device="cpu")
    (child,) = (run.path / "children").iterdir()
    (child / "result.json").unlink()
    with hold(child, "retrain"), pytest.raises(RunStateError, match="in use"):
        smash.retrain(run, 1, epochs=1, device="cpu")
    (run.path / "network.safetensors").unlink()
    with hold(run.path, "train"), pytest.raises(RunStateError, match="in use"):
        smash.train(None, run.path, resume=True)
    assert not run.trained


def test_two_that_make_one_run_at_once(digits, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    with hold(out, "train"), pytest.raises(RunStateError, match="in use"):
        smash.train(digits, out, epochs=1, **TINY)
    assert list(out.iterdir()) == []
