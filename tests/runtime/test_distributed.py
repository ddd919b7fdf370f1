"""Two processes on the CPU that join a process group as `torchrun` lets them.

`tests.cli.original` tests that `torchrun` starts them.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import smash
from smash.cli import main as cli
from smash.errors import RunStateError
from smash.io.tensors import load_tensors
from smash.runtime.distributed import ALONE, Processes, process_group
from smash.training.smash_network import SmashTraining
from tests.answers import TRAIN
from tests.processes import in_two, join_two

TWO_EPOCHS = f"{TRAIN} --epochs 2 --seed 3"


def exchange(rank: int, port: int, folder: str) -> None:
    """Exchanges values with the other process, and saves what it got."""
    join_two(rank, port)
    with process_group(torch.device("cpu")) as processes:
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


def test_process_group_exchanges_give_every_process_the_same(tmp_path):
    assert in_two(exchange, str(tmp_path)) == [0, 0]
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.equal(found["used"], torch.full((2, 3), 1.5))
        assert torch.equal(found["half_used"], torch.full((2, 3), 2.5))  # a zero on rank 0
        assert found["any"].tolist() == [True, False]
        assert found["gathered"].tolist() == [0.0, 10.0]
        assert found["first"].item() == 7


def test_processes_alone_exchange_nothing():
    parameter = torch.nn.Parameter(torch.zeros(2))
    ALONE.average_gradients([parameter])
    assert parameter.grad is None
    assert ALONE.gather(3.0) == [3.0]
    away = Processes(device=torch.device("meta"))  # its tensors have no values to read
    assert [away.any(True), away.any(False)] == [True, False]


def train(rank: int, port: int, out: Path, more: str, killed_at: int | None) -> None:
    """Trains in one of two processes; the second may kill itself before a step."""
    join_two(rank, port)
    file = os.open(out.with_suffix(f".{rank}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if rank == 1 and killed_at is not None:
        taken, take_step = 0, SmashTraining.step

        def counted(self: SmashTraining, step: int) -> Any:
            nonlocal taken
            if taken == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            taken += 1
            return take_step(self, step)

        SmashTraining.step = counted  # type: ignore[method-assign]
    sys.argv = ["smash", *TWO_EPOCHS.split(), "--out", str(out), *more.split()]
    cli.main()


def said(out: Path) -> str:
    """Reads what the two processes printed."""
    return "".join(out.with_suffix(f".{rank}").read_text() for rank in range(2))


def test_training_of_two_processes_after_a_kill_resumes_exactly(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert in_two(train, whole, "", None) == [0, 0], said(whole)
    assert said(whole).count("steps of") == 1  # one process speaks

    # An epoch is 13 steps; its end is the checkpoint.
    assert in_two(train, cut, "", 20) == [1, -signal.SIGKILL], said(cut)
    assert "another process of this training has ended" in said(cut)
    _, about = load_tensors(cut / "state.safetensors")
    assert about["step"] == 13

    with pytest.raises(RunStateError, match="begun by 2 processes, got 1"):
        smash.train(None, cut, resume=True)
    assert in_two(train, cut, "--resume", None) == [0, 0], said(cut)
    expected, _ = load_tensors(whole / "network.safetensors")
    found, _ = load_tensors(cut / "network.safetensors")
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    keys = ("step", "train_loss", "val_loss", "val_error")
    rows = [
        [{key: row[key] for key in keys} for row in smash.Run.open(path).metrics.rows()]
        for path in (whole, cut)
    ]
    assert rows[0] == rows[1]


def test_training_of_two_processes_after_a_fault_of_the_first_ends(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    assert in_two(train, taken, "", None) == [2, 2]
    assert said(taken).count("already exists and is kept") == 1
    assert "Traceback" not in said(taken)


class Pretend(Processes):
    """One of two processes without the other; it exchanges nothing."""

    def average_gradients(self, parameters):
        pass


@pytest.mark.parametrize("same", [False, True])
def test_training_step_of_each_process_draws_its_own_examples(run, digits, monkeypatch, same):
    training = run.settings.training.replaced(processes=2, same_architecture=same)
    run.settings = run.settings.replaced(training=training)
    drawn = []
    for rank in range(2):
        network = run.new_network()
        smash_training = SmashTraining(network, digits, training, 0, Pretend(rank=rank, count=2))
        assert smash_training.per_epoch == len(digits.train) // (2 * training.batch_size)
        seen = {}

        def forward(architecture, images, seen=seen, network=network):
            seen["architecture"], seen["images"] = architecture, images
            return type(network).forward(network, architecture, images)

        monkeypatch.setattr(network, "forward", forward)
        smash_training.step(0)
        drawn.append(seen)
    assert (drawn[0]["architecture"] == drawn[1]["architecture"]) is same
    first, second = (seen["images"].flatten(1) for seen in drawn)
    assert not (first[:, None] == second[None]).all(2).any()  # no example is in both batches
