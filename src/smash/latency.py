"""How long a child takes for one input, on the machine and the device at hand."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from smash.randomness import torch_generator
from smash.retraining import initialise
from smash.spaces.base import SearchSpace, Task

_WARM_UP = 5
_RUNS = 10
_ROUNDS = 3


@dataclass(frozen=True)
class Latency:
    """Time that a network takes, and under which conditions.

    Attributes:
        seconds: Median over the runs of the fastest round: other work on the machine only adds.
        spread: From the first to the third quartile of that round, in seconds.
        batch: Inputs at once.
        threads: Of the CPU.
        device: Where it was computed.
    """

    seconds: float
    spread: float
    batch: int
    threads: int
    device: str


def measure_latency(
    space: SearchSpace[Any], architecture: Any, task: Task, device: torch.device
) -> Latency:
    """Times the child of an architecture, with weights as training begins with.

    What is left in memory that was never written may be denormal numbers, which are slow.
    """
    child = space.build(architecture, task, str(device))
    initialise(child, torch_generator(0, "latency"))
    return time_network(child.eval(), task, device)


@torch.no_grad()
def time_network(
    network: nn.Module, task: Task, device: torch.device, batch: int = 1, runs: int = _RUNS
) -> Latency:
    """Times a network that maps n×channels×spatial to logits, after a few runs to warm up.

    Args:
        network: The network, on the device, in eval mode.
        task: Gives the input's shape.
        device: Where it is computed.
        batch: Inputs at once.
        runs: Of each of three rounds.
    """
    images = torch.zeros(batch, task.channels, *task.size, device=device)

    def run() -> float:
        started = time.perf_counter()
        network(images)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - started

    for _ in range(_WARM_UP):
        run()
    rounds = [statistics.quantiles([run() for _ in range(runs)], n=4) for _ in range(_ROUNDS)]
    first, median, third = min(rounds, key=lambda quartiles: quartiles[1])
    return Latency(median, third - first, batch, torch.get_num_threads(), str(device))
