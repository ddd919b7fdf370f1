"""All proxies on children of all spaces: they compute, repeat themselves, tell children apart."""

from __future__ import annotations

import math

import pytest
import torch

from smash.profiling.cost import measure_cost
from smash.runtime.rng import generator, torch_generator
from smash.scoring.proxies import PROXIES, Subject
from smash.spaces import PRESETS, MemoryBankSpace, NasBench201Space, Task
from smash.spaces.nas_bench_201 import NasBench201Options
from smash.spaces.parameters import initialise
from tests.spaces.chain import ChainSpace

IMAGE = Task(channels=3, size=(8, 8), classes=4)
TINY = PRESETS["tiny"].replaced(depth=1, max_width=16)
GATED = TINY.replaced(gates=True, grid="var", variable_nonlinearity=True)
CASES = {
    "memory banks": (MemoryBankSpace(TINY), IMAGE),
    "gated memory banks": (MemoryBankSpace(GATED), IMAGE),
    "bare memory banks": (MemoryBankSpace(TINY.replaced(normalisation="bare")), IMAGE),
    "signals": (
        MemoryBankSpace(TINY.replaced(dims=1)),
        Task(channels=2, size=(30,), classes=3),
    ),
    "cells": (NasBench201Space(NasBench201Options(channels=4, cells=1)), IMAGE),
    "cells of odd volumes": (
        NasBench201Space(NasBench201Options(channels=4, cells=1)),
        Task(channels=1, size=(5, 5, 5), classes=2),
    ),
    "a user's own": (ChainSpace(), IMAGE),
}


def subject_of(space, architecture, task) -> Subject:
    child = space.build(architecture, task, "cpu")
    initialise(child, torch_generator(0, "weights"))
    return Subject(
        child=child,
        stages=space.stages(child),
        macs=measure_cost(space, architecture, task).macs,
    )


@pytest.mark.parametrize(("space", "task"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_proxy_repeats_itself_and_tells_children_apart(proxy, space, task):
    architectures = [space.sample(generator(0, "test", number)) for number in range(4)]
    images = torch.randn(12, task.channels, *task.size, generator=torch_generator(0, "images"))

    def found(architecture):
        return proxy(subject_of(space, architecture, task), images, torch_generator(0, "noise"))

    first = [found(each) for each in architectures]
    assert torch.equal(torch.tensor([found(each) for each in architectures]), torch.tensor(first))
    assert len(set(first)) > 1
    assert len({len(parts) for parts in first}) == 1
    finite = [parts for parts in first if all(map(math.isfinite, parts))]
    assert finite


def test_stages_of_cells_are_the_cells_and_reductions():
    space = NasBench201Space(NasBench201Options(channels=4, cells=2))
    child = space.build(space.largest(), IMAGE)
    names = [name for name, part in child.named_modules() if part in space.stages(child)]
    assert names == [*(f"stages.{i}.{j}" for i in range(3) for j in range(2)), "reductions.0",
                     "reductions.1"]  # fmt: skip


def test_stages_of_memory_banks_are_blocks_and_transitions():
    space = MemoryBankSpace(PRESETS["tiny"])
    child = space.build(space.smallest(), IMAGE)
    names = [name for name, part in child.named_modules() if part in space.stages(child)]
    assert names == ["stem", "blocks.0", "blocks.1", "blocks.2", "transitions.0", "transitions.1"]


def test_stages_of_any_space_are_its_modules():
    space = ChainSpace()
    child = space.build(space.smallest(), IMAGE)
    names = [name for name, part in child.named_modules() if part in space.stages(child)]
    assert names == ["blocks.0", "blocks.1", "blocks.2", "classifier"]


def test_identity_cell_and_empty_cell_rank_last_in_trainability():
    space = NasBench201Space(NasBench201Options(channels=4, cells=2))
    none, skip = "none", "skip_connect"
    images = torch.zeros(8, 3, 8, 8)
    for operations in ([none] * 6, [none, none, none, skip, none, none]):
        cell = type(space.largest())(tuple(operations))
        found = PROXIES["az-nas"](subject_of(space, cell, IMAGE), images, torch_generator(0, "n"))
        assert found[2] == -math.inf
    convolution = space.largest()
    found = PROXIES["az-nas"](
        subject_of(space, convolution, IMAGE), images, torch_generator(0, "n")
    )
    assert math.isfinite(found[2])
