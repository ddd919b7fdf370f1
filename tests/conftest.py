from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from filelock import FileLock

import smash
from tests.answers import TRAIN, Answer, call

# A busy machine is no fault; and each run of the tests tries the same examples.
hypothesis.settings.register_profile("tests", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("tests")

TINY: dict[str, Any] = {
    "space": "memory-bank",
    "preset": "tiny",
    "options": {"depth": 1, "max_width": 16},
    "device": "cpu",
}


gc.disable()


@hypothesis.given(hypothesis.strategies.none())
def _register_generator_of_hypothesis(_: None) -> None:
    """Makes Hypothesis register its random generator, which it does for the first test."""


def pytest_collection_finish() -> None:
    """Lets the garbage collector pass over all that was imported: a twentieth of all CPU time."""
    # Hypothesis warns of a generator without referrers, and `gc` sees none that is frozen.
    _register_generator_of_hypothesis()
    gc.freeze()
    gc.set_threshold(20_000)  # a pass after 700 new objects finds little
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Uses one thread: tests run in parallel, and compare results bit by bit."""
    import torch  # not by the process that only hands out tests

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk():
    """Lets no test wait for a disk: a kill of a process loses nothing that the process wrote.

    `os.fstat` refuses what `os.fsync` refuses. Processes that tests start do wait.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", os.fstat)
        yield


@pytest.fixture(scope="session", autouse=True)
def _small_pools():
    """Lets what draws within limits choose among few architectures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smash.profiling.feasible._POOL", 8)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keeps tests away from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMASH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def digits():
    return smash.load_data("digits")


@pytest.fixture(scope="session")
def few_digits(digits):
    """The digits with 200 training examples: an epoch has four steps."""
    return replace(digits, train=digits.train.subset(slice(200)))


def _made_once(tmp_path_factory, name: str, make: Callable[[Path], None]) -> Path:
    """Makes a folder in the first process of pytest-xdist that needs it; all use the same."""
    base: Path = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, finished = base / name, base / f"{name}.finished"
    with FileLock(base / f"{name}.lock"):
        if not finished.exists():
            make(folder)
            finished.touch()
    return folder


@pytest.fixture(scope="session")
def trained(digits, tmp_path_factory):
    """A run whose network was trained for an epoch; tests copy and never alter it."""

    def make(folder: Path) -> None:
        smash.train(digits, folder / "run", epochs=1, **TINY)

    run = smash.Run.open(_made_once(tmp_path_factory, "trained", make) / "run")
    run.data = digits
    return run


@pytest.fixture
def run(trained, digits, tmp_path):
    """A copy of the trained run."""
    run = smash.Run.open(shutil.copytree(trained.path, tmp_path / "run"))
    run.data = digits
    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A trained and searched run with one child; tests copy and never alter it."""

    def make(folder: Path) -> None:
        path = folder / "run"
        search = "--random 3 --perturb 1 --markov 1 --device cpu"
        assert call(*TRAIN.split(), "--epochs", "1", "--out", str(path)) == 0
        assert call("search", str(path), *search.split()) == 0
        assert call("retrain", str(path), "--rank", "0", "--epochs", "1", "--device", "cpu") == 0

    return _made_once(tmp_path_factory, "finished", make) / "run"


@pytest.fixture(scope="session")
def exported(finished, tmp_path_factory):
    """The child of `finished` in each format; tests never alter it."""

    def make(folder: Path) -> None:
        (child,) = (finished / "children").iterdir()
        for name in ("m.onnx", "m.py", "n.safetensors"):
            assert call("export", str(child), "--to", str(folder / name)) == 0

    return _made_once(tmp_path_factory, "exported", make)


@pytest.fixture
def command(capsys):
    """Runs a command in this process."""

    def run(*argv: str) -> Answer:
        capsys.readouterr()
        code = call(*argv)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run
