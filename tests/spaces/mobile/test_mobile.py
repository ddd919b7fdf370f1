"""The space for devices: its contract in 1, 2 and 3 dimensions, its blocks, its presets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from smash import Task
from smash.errors import InvalidValueError
from smash.profiling.cost import measure_cost
from smash.spaces.mobile import MOBILE_PRESETS, MobileSpace, choose_options
from smash.spaces.mobile.network import Block, BlockShape
from smash.spaces.parameters import count_parameters
from smash.testing import SPACE_CHECKS, check_children, check_sharing

TASKS = [
    Task(channels=2, size=(32,), classes=3),
    Task(channels=1, size=(8, 8), classes=3),
    Task(channels=1, size=(8, 8, 8), classes=3),
]
CIFAR = Task(channels=3, size=(32, 32), classes=10)


@pytest.mark.parametrize(
    ("check", "task"),
    [
        pytest.param(check, task, id=f"{check.__name__}-{task.dims}d")
        for task in TASKS
        for check in SPACE_CHECKS
        if task.dims == 2 or check in (check_children, check_sharing)
    ],
)
def test_mobile_space_keeps_the_contract(check, task):
    options = {"widths": [[4, 8], [8, 12]], "strides": [1, 2], "squeeze": True}
    check(MobileSpace(choose_options("tiny", options), task), task)


@pytest.mark.parametrize(
    ("preset", "least", "most"),
    [("tiny", 3e3, 5e4), ("small", 1e4, 3e5), ("base", 1e5, 5e6)],
)
def test_preset_children_have_the_stated_sizes_and_spread(preset, least, most):
    space, rng = MobileSpace(MOBILE_PRESETS[preset], CIFAR), np.random.default_rng(0)
    drawn = [space.build(space.sample(rng), CIFAR) for _ in range(16)]
    params = [count_parameters(child) for child in drawn]
    inside = sum(least <= each <= most for each in params)
    assert inside >= 0.85 * len(params)
    smallest, largest = (
        measure_cost(space, each, CIFAR) for each in (space.smallest(), space.largest())
    )
    assert largest.params >= 20 * smallest.params
    assert largest.macs >= 20 * smallest.macs


def block(kind, inputs, outputs, **more):
    shape = {"kernel": 3, "stride": 1, "expansion": 2, "squeeze": False, "activation": "relu"}
    return Block(2, BlockShape(kind, (inputs, outputs), **{**shape, **more}))


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "weights"),
    [  # by hand: convolution weights alone
        ("residual", 4, 4, 2 * 9 * 4 * 4),
        ("residual", 4, 6, 9 * 4 * 6 + 9 * 6 * 6 + 4 * 6),
        ("fused", 4, 6, 9 * 4 * 8 + 8 * 6),
        ("inverted", 4, 6, 4 * 8 + 9 * 8 + 8 * 6),
        ("separable", 4, 6, 9 * 4 + 4 * 6),
    ],
)
def test_block_has_the_weights_of_its_kind(kind, inputs, outputs, weights):
    found = block(kind, inputs, outputs)
    convs = [m for m in found.modules() if isinstance(m, nn.Conv2d)]
    assert sum(conv.weight.numel() for conv in convs) == weights
    assert found(torch.zeros(2, inputs, 6, 6)).shape == (2, outputs, 6, 6)


def test_a_block_that_keeps_its_shape_adds_its_input():
    found = block("inverted", 4, 4).eval()
    images = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(found(images), found.body(images) + images)
    assert not block("inverted", 4, 4, stride=2).residual


@pytest.mark.parametrize("preset", list(MOBILE_PRESETS))
def test_each_norm_follows_a_convolution_so_that_it_folds(preset):
    space = MobileSpace(MOBILE_PRESETS[preset], CIFAR)
    child = space.build(space.sample(np.random.default_rng(3)), CIFAR)
    for parent in child.modules():
        names = [type(part).__name__ for part in parent.children()]
        for before, after in zip(["", *names], names, strict=False):
            assert after != "BatchNorm2d" or before == "Conv2d"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": 0}, "depths.0 must be at least 1, got 0"),
        ({"depths": []}, "depths must have at least 1 value"),
        ({"depths": [2, 2]}, r"depths must differ, got \(2, 2\)"),
        ({"kernels": [3, 4]}, "kernels must be odd, got 4"),
        ({"kinds": ["redisual"]}, "did you mean 'residual'"),
        ({"activations": "gelu"}, "activations.0 'gelu' is not known"),
        ({"widths": [8, 16]}, "strides must be as many as widths, a stage each: got 3 and 2"),
        ({"extent": [[2, 32]]}, "extent must say one for 1, 2 and 3 axes"),
        ({"squeeze": "maybe"}, "squeeze must be true or false, got 'maybe'"),
    ],
)
def test_choose_options_with_a_wrong_value_refuses_in_one_line(options, message):
    with pytest.raises(InvalidValueError, match=message) as caught:
        choose_options("tiny", options)
    assert len(caught.value.faults) == 1


def test_choose_options_takes_one_value_for_several():
    assert choose_options("tiny", {"depths": 2, "stem": [8]}).depths == (2,)


def test_unknown_options_are_named():
    with pytest.raises(InvalidValueError, match="did you mean 'widths'"):
        choose_options("tiny", {"width": [[4]]})
    with pytest.raises(InvalidValueError, match="preset 'tinny' is not known"):
        choose_options("tinny", {})
