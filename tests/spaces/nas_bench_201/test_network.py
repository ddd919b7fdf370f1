from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from smash.profiling.cost import measure_cost
from smash.spaces import NasBench201Space, Task
from smash.spaces.layers import average_near, average_pool
from smash.spaces.nas_bench_201 import EDGES, CellArchitecture, NasBench201Options
from tests.spaces.cases import fill, images_of, rng_of

SMALL = NasBench201Space(NasBench201Options(channels=3, cells=2))
CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@pytest.mark.parametrize(
    ("operation", "params", "macs"),
    [
        ("none", 73_306, 7.783),
        ("skip_connect", 73_306, 7.783),
        ("avg_pool_3x3", 73_306, 7.783),
        ("nor_conv_1x1", 241_306, 31.376),
        ("nor_conv_3x3", 1_531_546, 220.120),
    ],
)
def test_measure_cost_uniform_cells_give_published_numbers(operation, params, macs):
    """The benchmark's "FLOPs" are multiply-accumulates of convolutions and linear layers."""
    task = Task(channels=3, size=(32, 32), classes=10)
    cost = measure_cost(NasBench201Space(), CellArchitecture((operation,) * 6), task)
    assert cost.params == params
    assert round(cost.macs / 1e6, 3) == macs


def test_measure_cost_published_example_gives_published_numbers():
    """Architecture 1 of the benchmark, as its interface prints it.

    https://github.com/D-X-Y/NATS-Bench/issues/18: 113.95 M and 0.802 M parameters for 10 classes,
    113.96 M and 0.808 M for 100, and 28.50 M and 0.810 M for 16×16 images of 120.
    """
    space = NasBench201Space()
    cell = space.parse(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|"
        "+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
    )
    for side, classes, macs, params in (
        (32, 10, 113.95, 0.802),
        (32, 100, 113.96, 0.808),
        (16, 120, 28.50, 0.810),
    ):
        cost = measure_cost(space, cell, Task(channels=3, size=(side, side), classes=classes))
        assert round(cost.macs / 1e6, 2) == macs
        assert round(cost.params / 1e6, 3) == params


def relu_conv_norm(x: Tensor, state: dict[str, Tensor], name: str, stride: int = 1) -> Tensor:
    weight = state[f"{name}.conv.weight"]
    x = CONVOLVE[x.ndim - 2](F.relu(x), weight, stride=stride, padding=weight.shape[-1] // 2)
    return norm(x, state, f"{name}.norm")


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    values = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    mean, var, weight, bias = (v.reshape(-1, *[1] * (x.ndim - 2)) for v in values)
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def mean_near(x: Tensor) -> Tensor:
    """The mean over each place and those beside it, corners included, one by one."""
    found = torch.empty_like(x)
    for place in product(*map(range, x.shape[2:])):
        here: Any = (..., *place)
        near: Any = (..., *(slice(max(0, at - 1), at + 2) for at in place))
        found[here] = x[near].flatten(2).mean(2)
    return found


def child_by_hand(images: Tensor, cell: CellArchitecture, state: dict[str, Tensor]) -> Tensor:
    """A network of two cells a stage, as the benchmark's paper tells it, in eval mode."""
    dims = images.ndim - 2
    x = CONVOLVE[dims](images, state["stem.weight"], padding=1)
    x = norm(x, state, "stem_norm")
    for stage, number in product(range(3), range(2)):
        if stage and not number:
            name = f"reductions.{stage - 1}"
            y = relu_conv_norm(x, state, f"{name}.first", stride=2)
            y = relu_conv_norm(y, state, f"{name}.second")
            halved = POOL[dims](x, 2)
            x = y + CONVOLVE[dims](halved, state[f"{name}.shortcut.weight"])
        nodes = [x, torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)]
        for (source, target), operation in zip(EDGES, cell.operations, strict=True):
            y = nodes[source]
            if "conv" in operation:
                name = f"stages.{stage}.{number}.{operation}_{source}_{target}"
                y = relu_conv_norm(y, state, name)
            elif operation == "avg_pool_3x3":
                y = mean_near(y)
            elif operation == "none":
                y = 0 * y
            nodes[target] = nodes[target] + y
        x = nodes[3]
    x = F.relu(norm(x, state, "norm")).flatten(2).mean(2)
    return x @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize("size", [(8, 8), (8,), (4, 8, 4)])
def test_network_agrees_with_hand_written_forward(size):
    task = Task(channels=2, size=size, classes=3)
    for seed in range(4):
        cell = SMALL.sample(rng_of(seed))
        child = SMALL.build(cell, task, "cpu")
        fill(child, seed)
        child.double().eval()
        images = images_of(task, seed, count=2).double()
        with torch.no_grad():
            found = child(images)
            expected = child_by_hand(images, cell, child.state_dict())
        assert found.std() > 0
        torch.testing.assert_close(
            found, expected, rtol=1e-8, atol=1e-10, msg=lambda text, s=seed: f"seed {s}: {text}"
        )


def test_network_depends_on_input_exactly_if_connected():
    task = Task(channels=2, size=(8, 8), classes=3)
    images = images_of(task, 0).double()
    seen = set()
    for text in (
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|none~2|",
        "|none~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|nor_conv_3x3~2|",
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|skip_connect~2|",
        "|none~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|none~2|",
    ):
        cell = SMALL.parse(text)
        child = SMALL.build(cell, task, "cpu")
        fill(child, 0)
        child.double().eval()
        with torch.no_grad():
            logits = child(images)
        differ = bool((logits - logits[0]).abs().max() > 1e-6)
        assert differ == cell.connected, text
        seen.add(differ)
    assert seen == {True, False}


@pytest.mark.parametrize("size", [(5,), (1, 2), (4, 3), (2, 1, 4)])
def test_average_near_ignores_the_padding(size):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(average_near(x, 3), mean_near(x))


def test_average_pool_ceil_averages_the_incomplete_window():
    x = torch.tensor([[[1.0, 3.0, 5.0]]])
    assert average_pool(x, 2).tolist() == [[[2.0]]]
    assert average_pool(x, 2, ceil=True).tolist() == [[[2.0, 5.0]]]


def test_network_large_input_reduced_by_the_stem():
    cell = SMALL.largest()
    large = Task(channels=1, size=(96, 33), classes=2)
    assert SMALL.build(cell, large).stem.stride == (3, 2)
    asked = NasBench201Space(NasBench201Options(channels=3, cells=1, stem_stride=1))
    assert asked.build(cell, large).stem.stride == (1, 1)
    assert SMALL.build(cell, Task(channels=1, size=(32, 32), classes=2)).stem.stride == (1, 1)
