from __future__ import annotations

from typing import Any

import pytest
import torch

from smash.hypernet import HYPERNETS, SmashNetwork
from smash.spaces import MemoryBankSpace, NasBench201Space, SearchSpace, Task
from smash.spaces.nas_bench_201 import NasBench201Options
from tests.spaces.cases import OPTIONS, images_of, randomise, rng_of
from tests.spaces.chain import Chain, ChainBlock, ChainSpace

TASK = Task(channels=2, size=(8, 8), classes=3)
CELLS = NasBench201Options(channels=4, cells=1)
SPACES: dict[str, SearchSpace[Any]] = {
    "chain": ChainSpace(),
    "cells": NasBench201Space(CELLS),
    "memory banks": MemoryBankSpace(OPTIONS["tiny"]),
    "all variable": MemoryBankSpace(OPTIONS["all-variable"]),
    "op norm": MemoryBankSpace(OPTIONS["op-norm"]),
    "signals": MemoryBankSpace(OPTIONS["signal"]),
    "cells of voxels": NasBench201Space(CELLS),
}
SIZES = {"signals": (16,), "cells of voxels": (4, 4, 4)}


def network_of(name: str, hypernet: str = "low-rank", seed: int = 0) -> SmashNetwork:
    task = Task(channels=2, size=SIZES.get(name, (8, 8)), classes=3)
    return SmashNetwork(SPACES[name], task, hypernet, seed)


@pytest.mark.parametrize(
    ("name", "hypernet"),
    [
        (name, hypernet)
        for name, space in SPACES.items()
        for hypernet in HYPERNETS
        if hypernet != "convolutional" or isinstance(space, MemoryBankSpace)
    ],
)
def test_state_loads_into_the_child_with_equal_logits(name, hypernet):
    network = network_of(name, hypernet)
    randomise(network, 0)
    for seed in range(2):
        architecture = network.space.sample(rng_of(seed))
        state = network.state(architecture, images_of(network.task, 1))
        child = network.space.build(architecture, network.task, "cpu")
        child.load_state_dict(state)
        images = images_of(network.task, 2)
        with torch.no_grad():
            scored = network.child(architecture, state)(images)
            assert torch.equal(child.eval()(images), scored), f"seed {seed}"
        assert scored.std() > 0
        assert torch.isfinite(scored).all()


@pytest.mark.parametrize("name", SPACES)
def test_forward_initially_equals_plain_sharing(name):
    changed, plain = network_of(name), network_of(name, "none")
    architecture = changed.space.sample(rng_of(3))
    images = images_of(changed.task, 3)
    assert torch.equal(changed(architecture, images), plain(architecture, images))


def test_forward_adds_scaled_factors_to_the_shared_weight():
    network = network_of("chain")
    randomise(network, 4)
    hypernetwork, shared = network.source.hypernetwork, network.source.shared
    amounts = []
    hypernetwork.exit.register_forward_hook(lambda _, args, output: amounts.append(output.tanh()))
    architecture = Chain((ChainBlock(8, 3, 1), ChainBlock(4, 3, 2), ChainBlock(8, 5, 2)))
    child = network.space.build(architecture, TASK)
    weights = network.source(architecture, child)
    names = [name for name, value in child.named_parameters() if value.ndim > 1]
    assert len(amounts[0]) == len(names) == 10
    name = "blocks.0.depthwise.weight"  # 2×1×3×3 of a shared 4×1×5×5
    left, right = (part[name.replace(".", "/")] for part in (hypernetwork.left, hypernetwork.right))
    whole = shared.tensors[name.replace(".", "/")]
    assert (left.shape, right.shape, whole.shape) == ((4, 8), (8, 1, 5, 5), (4, 1, 5, 5))
    assert weights[name].shape == (2, 1, 3, 3)
    amount = amounts[0][names.index(name)]
    for o in range(2):
        for y in range(3):
            for x in range(3):
                change = sum(left[o, r] * amount[r] * right[r, 0, y + 1, x + 1] for r in range(8))
                expected = whole[o, 0, y + 1, x + 1] + change
                torch.testing.assert_close(weights[name][o, 0, y, x], expected)
    assert torch.equal(weights["classifier.bias"], shared.tensors["classifier/bias"])


def test_forward_same_place_depends_on_the_architecture():
    network = network_of("chain")
    randomise(network, 5)
    first = Chain((ChainBlock(8, 3, 1), ChainBlock(8, 3, 1), ChainBlock(8, 3, 1)))
    second = Chain((*first.blocks[:2], ChainBlock(8, 5, 1)))
    given = [network.source(each, network.space.build(each, TASK)) for each in (first, second)]
    name = "blocks.0.project.weight"
    assert given[0][name].shape == given[1][name].shape
    assert not torch.equal(given[0][name], given[1][name])


def test_forward_ops_of_one_tensor_get_different_weights():
    network = network_of("memory banks")
    randomise(network, 6)
    plain = network.source.shared
    for seed in range(20):
        architecture = network.space.sample(rng_of(seed))
        child = network.space.build(architecture, network.task)
        weights, shared = network.source(architecture, child), plain(child)
        alike: dict[tuple, list[str]] = {}
        for name, weight in weights.items():
            if name.endswith("project.weight"):
                key = (network.space.shared_name(name), tuple(weight.shape))
                alike.setdefault(key, []).append(name)
        pairs = [names for names in alike.values() if len(names) > 1]
        for one, other, *_ in pairs:
            assert torch.equal(shared[one], shared[other])
            assert not torch.equal(weights[one], weights[other])
        if pairs:
            return
    pytest.fail("no two ops share a weight of one shape")


def test_hypernetwork_large_kernel_needs_no_more_outputs():
    outputs = {}
    for kernel in (3, 7):
        options = OPTIONS["tiny"].replaced(max_kernel=kernel)
        network = SmashNetwork(MemoryBankSpace(options), TASK, "low-rank")
        hypernetwork = network.source.hypernetwork
        outputs[kernel] = sum(
            parameter.numel()
            for name, parameter in hypernetwork.named_parameters()
            if name.startswith(("entry", "exit"))
        )
    assert outputs[3] == outputs[7]


def test_backward_reaches_every_parameter():
    network = network_of("chain")
    architecture, images = network.space.largest(), images_of(TASK, 7)
    network(architecture, images).square().sum().backward()
    hypernetwork = network.source.hypernetwork
    assert hypernetwork.exit.weight.grad.norm() > 0  # from the very start
    network.zero_grad()
    randomise(network, 7)
    network(architecture, images).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.norm() > 0, name


def test_network_depends_on_the_seed_only():
    first, second, other = (network_of("cells", seed=seed) for seed in (1, 1, 2))
    values = [torch.cat([p.flatten() for p in n.parameters()]) for n in (first, second, other)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
