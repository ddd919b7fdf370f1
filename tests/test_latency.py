from __future__ import annotations

import time

import torch
from torch import nn

from smash.latency import measure_latency, time_network
from smash.spaces import MemoryBankSpace, Task
from tests.spaces.cases import OPTIONS

TASK = Task(channels=1, size=(8, 8), classes=3)
CPU = torch.device("cpu")


class _Sleeping(nn.Module):
    """Takes as long as it is told; the first calls take longer, as those of networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.shapes: set[tuple[int, ...]] = set()

    def forward(self, images):
        self.shapes.add(tuple(images.shape))
        self.calls += 1
        time.sleep(0.05 if self.calls <= 3 else 0.002)
        return images


def test_the_median_is_told_and_the_first_runs_are_not_counted():
    network = _Sleeping()
    found = time_network(network, TASK, CPU, batch=2, runs=9)
    assert network.shapes == {(2, 1, 8, 8)}
    assert network.calls > 9
    assert 0.002 <= found.seconds < 0.02
    assert (found.batch, found.device, found.threads) == (2, "cpu", torch.get_num_threads())
    assert found.spread >= 0


def test_a_child_is_timed():
    space = MemoryBankSpace(OPTIONS["tiny"])
    small = measure_latency(space, space.smallest(), TASK, CPU)
    large = measure_latency(space, space.largest(), TASK, CPU)
    assert 0 < small.seconds < large.seconds
    assert small.batch == 1
