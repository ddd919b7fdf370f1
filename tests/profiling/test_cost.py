from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from smash.errors import InvalidValueError
from smash.profiling.cost import Budget, Cost, count_macs, measure
from smash.spaces import MemoryBankSpace, Task
from tests.spaces.cases import OPTIONS


@pytest.mark.parametrize("name", [n for n in OPTIONS if n not in ("v1", "original")])
def test_macs_agree_with_torchs_own_count(name):
    options = OPTIONS[name]
    task = Task(channels=2, size=(8,) * options.dims, classes=3)
    space = MemoryBankSpace(options)
    architecture = space.sample(np.random.default_rng(0))
    child = space.build(architecture, task).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        child(torch.empty(1, 2, *task.size, device="meta"))
    cost = measure(space, architecture, task)
    assert cost.macs == counter.get_total_flops() / 2
    assert cost.params == sum(value.numel() for value in child.state_dict().values()) - sum(
        value.numel() for value in child.buffers()
    )


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2), (7,)),
        (nn.ConvTranspose2d(4, 6, 3, padding=1), (5, 4)),
        (nn.ConvTranspose3d(4, 2, 2, stride=2), (3, 4, 2)),
    ],
    ids=lambda case: type(case).__name__,
)
def test_macs_of_transposed_convolutions_are_those_of_the_sums_by_hand(layer, size):
    macs = count_macs(layer.to("meta"), Task(channels=4, size=size, classes=2))
    filters = layer.out_channels // layer.groups * math.prod(layer.kernel_size)
    assert macs == 4 * math.prod(size) * filters  # each input value goes into as many sums


def test_limits_are_inclusive():
    cost = Cost(params=10, macs=100)
    assert Budget(10, 100).allows(cost)
    assert not Budget(9, None).allows(cost)
    assert not Budget(None, 99).allows(cost)


def test_the_smallest_architecture_is_the_smallest():
    space, task = MemoryBankSpace(OPTIONS["tiny"]), Task(channels=1, size=(8, 8), classes=10)
    least, rng = measure(space, space.smallest(), task), np.random.default_rng(0)
    for _ in range(50):
        cost = measure(space, space.sample(rng), task)
        assert least.params <= cost.params
        assert least.macs <= cost.macs
    with pytest.raises(InvalidValueError, match=f"needs {least.params:,}"):
        Budget(max_params=least.params - 1).check_feasible(space, task)
    Budget(max_params=least.params).check_feasible(space, task)
