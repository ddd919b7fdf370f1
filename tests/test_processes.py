"""Two processes on the CPU, joined as `torchrun` joins them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.multiprocessing

import smash
from smash.errors import RunStateError
from smash.processes import ALONE, Processes, join
from smash.run import load_tensors
from smash.training_loop import TrainingLoop

TRAIN = "train digits --preset tiny -o depth=1 -o max_width=16 --device cpu --epochs 2 --seed 3"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def exchange(rank: int, port: int, folder: str) -> None:
    """What one process does in the test of the exchanges."""
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    with join(torch.device("cpu")) as processes:
        used, half_used, unused = (torch.nn.Parameter(torch.zeros(2, 3)) for _ in range(3))
        used.grad = torch.full((2, 3), float(1 + rank))
        if rank == 1:
            half_used.grad = torch.full((2, 3), 5.0)
        processes.average_gradients([used, half_used, unused])
        assert unused.grad is None
        torch.save(
            {
                "used": used.grad,
                "half_used": half_used.grad,
                "any": torch.tensor([processes.any(rank == 1), processes.any(False)]),
                "gathered": torch.tensor(processes.gather(10.0 * rank)),
                "first": torch.tensor(processes.first(lambda: 7 if rank == 0 else 1 / 0)),
            },
            Path(folder) / f"{rank}.pt",
        )


def test_exchanges_give_every_process_the_same(tmp_path):
    torch.multiprocessing.spawn(exchange, (free_port(), str(tmp_path)), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.equal(found["used"], torch.full((2, 3), 1.5))
        assert torch.equal(found["half_used"], torch.full((2, 3), 2.5))  # a zero on rank 0
        assert found["any"].tolist() == [True, False]
        assert found["gathered"].tolist() == [0.0, 10.0]
        assert found["first"].item() == 7


def test_alone_nothing_is_exchanged():
    parameter = torch.nn.Parameter(torch.zeros(2))
    ALONE.average_gradients([parameter])
    assert parameter.grad is None
    assert ALONE.gather(3.0) == [3.0]


def torchrun(out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(free_port()), "-m", "smash", *TRAIN.split(), "--out", str(out)]
    return subprocess.Popen(
        [*command, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes through /proc")
def test_two_processes_train_and_resume_exactly_after_one_is_killed(tmp_path):
    whole = torchrun(tmp_path / "whole")
    said, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, said
    assert said.count("nominal budget") == 1  # one process speaks

    cut = torchrun(tmp_path / "cut")
    checkpoint = tmp_path / "cut" / "state.safetensors"
    deadline = time.monotonic() + 240
    while not checkpoint.exists() and time.monotonic() < deadline:
        assert cut.poll() is None, cut.communicate()[0]
        time.sleep(0.02)
    os.kill(workers_of(cut.pid)[1], signal.SIGKILL)
    said, _ = cut.communicate(timeout=120)
    assert cut.returncode == 1
    assert not (tmp_path / "cut" / "network.safetensors").exists(), "killed too late"
    _, about = load_tensors(checkpoint)
    assert about["step"] > 0

    with pytest.raises(RunStateError, match="begun by 2 processes, got 1"):
        smash.train(None, tmp_path / "cut", resume=True)
    again = torchrun(tmp_path / "cut", "--resume")
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 0, said
    expected, _ = load_tensors(tmp_path / "whole" / "network.safetensors")
    found, _ = load_tensors(tmp_path / "cut" / "network.safetensors")
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    keys = ("step", "train_loss", "val_loss", "val_error")
    rows = [
        [{key: row[key] for key in keys} for row in smash.Run.open(tmp_path / name).metrics.rows()]
        for name in ("whole", "cut")
    ]
    assert rows[0] == rows[1]


def test_a_fault_of_the_first_process_ends_all(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    run = torchrun(tmp_path / "taken")
    said, _ = run.communicate(timeout=120)
    assert run.returncode != 0
    assert said.count("already exists and is kept") == 1
    assert "Traceback" not in said.split("already exists")[0]


class Pretend(Processes):
    """One of two processes, without the other: it exchanges nothing."""

    def average_gradients(self, parameters):
        pass


@pytest.mark.parametrize("same", [False, True])
def test_each_process_draws_its_own_examples_and_architectures(run, digits, monkeypatch, same):
    training = run.settings.training.replaced(processes=2, same_architecture=same)
    run.settings = run.settings.replaced(training=training)
    drawn = []
    for rank in range(2):
        network = run.new_network()
        loop = TrainingLoop(run, network, digits, Pretend(rank=rank, count=2))
        assert loop.per_epoch == len(digits.train) // (2 * training.batch_size)
        seen = {}

        def forward(architecture, images, seen=seen, network=network):
            seen["architecture"], seen["images"] = architecture, images
            return type(network).forward(network, architecture, images)

        monkeypatch.setattr(network, "forward", forward)
        loop.take_step()
        drawn.append(seen)
    assert (drawn[0]["architecture"] == drawn[1]["architecture"]) is same
    first, second = (seen["images"].flatten(1) for seen in drawn)
    assert not (first[:, None] == second[None]).all(2).any()  # no example is in both batches
