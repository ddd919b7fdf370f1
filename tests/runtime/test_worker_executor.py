"""Worker processes of this machine; some are killed, and so is their parent."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import smash
from smash.errors import LostProcessError
from smash.io.tensors import load_tensors
from smash.runtime.worker_executor import WorkerExecutor
from smash.training.children import retrain_several
from tests.conftest import TINY
from tests.processes import is_running
from tests.runtime.executors import Weights, check_executor

TRAIN = {"epochs": 2, "device": "cpu"}


def equal(one, other):
    """Whether two children are the same: their records, their results, and each weight."""
    first, second = (load_tensors(child.path / "model.safetensors")[0] for child in (one, other))
    return (
        (one.record, one.result) == (other.record, other.result)
        and first.keys() == second.keys()
        and all(torch.equal(value, second[name]) for name, value in first.items())
    )


@pytest.fixture
def searched(finished, tmp_path):
    """A copy of a searched run without trained children."""
    path = Path(shutil.copytree(finished, tmp_path / "run"))
    shutil.rmtree(path / "children")
    return smash.Run.open(path)


@pytest.fixture(scope="module")
def uninterrupted(finished, tmp_path_factory):
    """Children of the ranks 0 to 2, trained in this process."""
    path = tmp_path_factory.mktemp("uninterrupted") / "run"
    run = smash.Run.open(shutil.copytree(finished, path))
    return retrain_several(run, [0, 1, 2], **TRAIN)


def test_workers_keep_the_contract_of_executors_and_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with WorkerExecutor(workers=2) as executor:
        check_executor(executor)
        executor.scatter(Weights(torch.arange(3)))
        assert len([*tmp_path.glob("smash-workers-*/*")]) == 1  # a value takes the place of another
        pids = {executor.submit(os.getpid).result() for _ in range(3)}
        assert os.getpid() not in pids
        assert executor.submit(torch.get_num_threads).result() == 1
    assert not [pid for pid in pids if is_running(pid)]
    assert not [*tmp_path.iterdir()]


def test_children_by_workers_are_those_of_this_process_and_their_epochs_are_counted(
    uninterrupted, searched
):
    shown = []

    @contextmanager
    def progress(label, total):
        yield lambda done, remark: shown.append((label, total, done, remark))

    there = retrain_several(searched, [0, 1], **TRAIN, workers=2, progress=progress)
    assert all(map(equal, uninterrupted[:2], there))
    counts = [done for _, _, done, _ in shown]
    assert counts == sorted(counts)
    assert shown[-1] == ("train 2 children, 2 at once", 4, 4, "2 trained")


def test_worker_that_is_killed_is_a_fault_that_says_what_to_do():
    with (
        pytest.raises(LostProcessError, match=r"a worker process has ended.*fewer workers"),
        WorkerExecutor(workers=2) as executor,
    ):
        executor.submit(os.kill, executor.submit(os.getpid).result(), signal.SIGKILL)
        executor.submit(time.sleep, 60).result()


def test_kill_after_a_value_was_scattered_leaves_no_file_behind(tmp_path):
    code = (
        "import os, signal\n"
        "from tests.runtime.executors import Weights\n"
        "from smash.runtime.worker_executor import WorkerExecutor\n"
        "import torch\n"
        "WorkerExecutor(workers=1).scatter(Weights(torch.zeros(9)))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    begun = time.monotonic()
    while [*tmp_path.glob("smash-workers-*")]:
        assert time.monotonic() - begun < 60
        time.sleep(0.05)


def test_space_that_only_this_process_knows_is_trained_by_workers(few_digits, tmp_path):
    code = tmp_path / "wide.py"
    code.write_text(
        "from torch import nn\n"
        "def net(choose, task):\n"
        "    width = choose('width', [4, 8, 16])\n"
        "    return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),\n"
        "                         nn.Flatten(), nn.Linear(width, task.classes))\n"
    )
    settings = {**TINY, "space": f"{code}:net", "preset": None, "options": {}}
    run = smash.train(few_digits, tmp_path / "run", epochs=1, **settings)
    smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    children = retrain_several(run, [0, 1], **TRAIN, workers=2)
    assert [child.result["val"].examples for child in children] == [153, 153]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_command_ends_its_workers_and_is_continued(uninterrupted, searched, number):
    line = f"-m smash retrain {searched.path} --ranks 0-2 --epochs 2 --device cpu --workers 2"
    command = [sys.executable, *line.split()]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        while not [*searched.path.glob("children/*/state.safetensors")]:
            time.sleep(0.01)
        # A terminal sends Ctrl-C to workers too.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    begun = time.monotonic()
    while _group(process.pid):
        assert time.monotonic() - begun < 60
        time.sleep(0.05)
    assert len([*searched.path.glob("children/*/result.json")]) < 3
    ends = retrain_several(searched, [0, 1, 2], **TRAIN)
    assert all(map(equal, uninterrupted, ends))


def _group(leader):
    """The running processes of a group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(group) == leader and state != "Z":
            found.append(stat.parent.name)
    return found


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "retrain {run} --ranks 0-1 --workers 2 --ray local",
            "workers (2) are of this machine, and ray 'local'",
        ),
        (
            "retrain {run} --rank 1 --workers 2",
            "workers is for several children at once, got 2 with rank 1",
        ),
        ("compare {run} --workers 0", "workers must be at least 1"),
        (
            "correlate {run} --table t.csv --column accuracy --workers 2",
            "workers is for trained candidates",
        ),
    ],
)
def test_workers_where_they_cannot_be_fail_in_one_line(command, finished, line, words):
    answer = command(*line.format(run=finished).split())
    assert (answer.code, len(answer.faults)) == (2, 1), answer.err
    assert words in answer.faults[0]
