"""RAM and flash of networks, compared with counts by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from smash import Task
from smash.config import SpaceSettings
from smash.profiling.cost import cost_of
from smash.profiling.footprint import peak_memory
from smash.profiling.operations import Trace, record_operations
from smash.runtime.rng import generator
from smash.spaces import make_space
from smash.spaces.baselines import make_baseline
from smash.spaces.parameters import without_values

TASK = Task(channels=3, size=(8, 8), classes=2)


class Chain(nn.Module):
    """Two convolutions, one with a norm and an activation, then a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 4, 3, padding=1)
        self.classifier = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.second(torch.relu(self.norm(self.first(x))))
        return self.classifier(x.mean((2, 3)))


class Residual(nn.Module):
    """A stem and a residual block; `before` puts the norm before the convolution."""

    def __init__(self, *, before: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm, self.before = nn.BatchNorm2d(4), before

    def forward(self, x: torch.Tensor) -> Any:
        x = self.stem(x)
        y = self.first(self.norm(x)) if self.before else self.norm(self.first(x))
        return (self.second(y) + x).flatten(1)


class Dense(nn.Module):
    """Three convolutions whose outputs are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Conv2d(3, 2, 1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> Any:
        return torch.cat([part(x) for part in self.parts], 1)


# 8×8 places are 64 bytes a channel.
@pytest.mark.parametrize(
    ("network", "peak"),
    [
        (Chain, 64 * (8 + 4)),  # the input of 3 channels is dead when the second runs
        (lambda: Residual(before=False), 64 * (4 + 4 + 4)),  # the shortcut, y, second(y)
        (lambda: Residual(before=True), 64 * (4 + 4 + 4)),  # the shortcut, norm(x), first(…)
        (Dense, 64 * (6 + 6)),  # the parts and their concatenation
    ],
    ids=["chain", "residual", "norm before convolution", "dense"],
)
def test_memory_of_small_graphs_equals_the_count_by_hand(network, peak):
    with torch.device("meta"):
        assert cost_of(network(), TASK).memory == peak


@pytest.mark.parametrize(
    ("layers", "peak"),
    [
        ([nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2)], 64 * (3 + 8)),
        ([nn.Conv2d(3, 8, 3, padding=1), nn.PReLU()], 64 * (3 + 8)),
    ],
    ids=["max-pool", "PReLU"],
)
def test_memory_counts_neither_places_of_maxima_nor_a_copy_for_prelu(layers, peak):
    network = nn.Sequential(*layers).to("meta")
    with torch.device("meta"):
        assert cost_of(network, TASK).memory == peak


@pytest.mark.parametrize(
    ("layer", "weights", "channels"),
    [
        (nn.Linear(192, 2), 192 * 2, 2),
        (nn.Linear(192, 2, bias=False), 192 * 2, 2),
        (nn.Sequential(nn.Unflatten(1, (3, 8, 8)), nn.ConvTranspose2d(3, 8, 3)), 3 * 8 * 9, 8),
    ],
    ids=["linear", "linear without bias", "transposed convolution"],
)
def test_flash_counts_a_bias_and_a_scale_for_each_output_channel(layer, weights, channels):
    network = nn.Sequential(nn.Flatten(), layer).to("meta")
    with torch.device("meta"):
        assert cost_of(network, TASK).flash == weights + 8 * channels + 128


class Repeated(nn.Module):
    """A convolution that is called ten times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(10):
            x = self.conv(x)
        return x.mean((2, 3))[:, :2]


def test_flash_counts_the_weights_of_a_layer_that_is_called_often_once():
    with torch.device("meta"):
        found = cost_of(Repeated(), TASK).flash
    operations = 11  # and the mean; the cut is a view
    assert found == 3 * 3 * 9 + 8 * 3 + 128 * operations


def test_flash_counts_the_weights_of_equal_layers_each():
    with torch.device("meta"), without_values("meta"):  # where equal layers are copies
        layers = [nn.Conv2d(3, 3, 3) for _ in range(3)]
        found = cost_of(nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 2)), TASK).flash
    assert found == 3 * (3 * 3 * 9 + 8 * 3) + 12 * 2 + 8 * 2 + 128 * 4


def test_flash_counts_the_weights_of_a_recurrent_layer_once():
    class Recurrent(nn.Module):
        def __init__(self, cells: int) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 16, batch_first=True)
            self.head = nn.Linear(16, 2)
            self.cells = cells

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            steps = x.flatten(2).transpose(1, 2)[:, : self.cells]
            out: torch.Tensor = self.head(self.rnn(steps)[0][:, -1])
            return out

    with torch.device("meta"):
        traces = [record_operations(Recurrent(steps), TASK) for steps in (4, 8)]
    weights = [
        sum(shape.numel() for each in trace.operations for shape in each.weights if len(shape) > 1)
        for trace in traces
    ]
    assert weights == [3 * 16 * 3 + 3 * 16 * 16 + 16 * 2] * 2


class Tokens(nn.Module):
    """Whole numbers, which are added, joined and looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        level = (x.flatten(1) > 0).long()
        tokens = torch.cat([level + level, level], dim=1)
        out: torch.Tensor = self.head(self.embed(tokens).mean(1))
        return out


class Sums(nn.Module):
    """Sums and an activation, with their operands by keyword or by position."""

    def __init__(self, *, named: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.named = named

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if self.named:
            return torch.relu(input=x.add(other=torch.add(x, other=x))).mean((2, 3))
        return torch.relu(x + (x + x)).mean((2, 3))


def test_cost_of_whole_numbers_and_of_operands_by_keyword_is_counted():
    with torch.device("meta"):
        assert cost_of(Tokens(), TASK).macs == 4 * 2
        assert cost_of(Sums(named=True), TASK) == cost_of(Sums(named=False), TASK)


def test_cost_of_a_norm_without_parameters_or_statistics_is_counted():
    norm = nn.BatchNorm2d(3, affine=False, track_running_stats=False)
    layers = [nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]
    with torch.device("meta"):
        bare, normed = (
            cost_of(nn.Sequential(*first, *layers).to("meta"), TASK) for first in ([], [norm])
        )
    assert normed.flash - bare.flash == 8 * 3 + 128


def test_flash_folds_the_norm_behind_a_convolution():
    with torch.device("meta"):
        found = cost_of(Chain(), TASK).flash
    weights = 3 * 8 * 9 + 8 * 4 * 9 + 4 * 2
    operations = 5  # two convolutions, relu, mean, classifier
    assert found == weights + 8 * (8 + 4 + 2) + 128 * operations


def test_flash_of_a_norm_that_cannot_be_folded_counts_its_channels():
    with torch.device("meta"):
        folded = cost_of(Residual(before=False), TASK).flash
        kept = cost_of(Residual(before=True), TASK).flash
    assert kept - folded == 8 * 4 + 128


def test_memory_of_resnet8_is_that_of_three_tensors_of_its_first_stage():
    network = make_baseline("mlperf-resnet-16", Task(channels=3, size=(32, 32), classes=10))
    with torch.device("meta"):
        found = cost_of(network.to("meta"), Task(channels=3, size=(32, 32), classes=10))
    assert found.memory == 3 * 16 * 32 * 32


@pytest.mark.parametrize(
    ("name", "preset"), [("memory-bank", "tiny"), ("nas-bench-201", None), ("mobile", "tiny")]
)
def test_footprint_of_children_grows_from_smallest_to_largest(name, preset):
    space = make_space(SpaceSettings(name=name, preset=preset, options={}), dims=2)
    smallest, largest = (
        cost_of(space.build(architecture, TASK), TASK)
        for architecture in (space.smallest(), space.largest())
    )
    assert 0 < smallest.memory <= largest.memory
    assert 0 < smallest.flash < largest.flash


def peaks_by_simulation(trace: Trace) -> tuple[int, int]:
    """Executes a graph step by step with the set of buffers that are alive.

    Returns:
        The peak in the order of the definition, and the least of all topological orders, which is
        found over the sets of operations that an order can have executed.
    """
    operations, sizes = trace.operations, trace.sizes
    buffers = range(len(sizes))
    readers = {b: {n for n, each in enumerate(operations) if b in each.reads} for b in buffers}
    writer: dict[int, int] = {}
    for n, operation in enumerate(operations):
        for written in set(operation.writes) - set(operation.reads):
            writer.setdefault(written, n)
    needs = [{writer[b] for b in each.reads if b in writer} for each in operations]

    def alive(done: frozenset[int]) -> set[int]:
        written = {b for b in buffers if b not in writer or writer[b] in done}
        return {b for b in written if b in trace.outputs or readers[b] - done}

    def bytes_during(done: frozenset[int], n: int) -> int:
        before, after = alive(done), alive(done | {n})
        total = sum(sizes[b] for b in before)
        for written in set(operations[n].writes) - set(operations[n].reads):
            freed = {sizes[b] for b in operations[n].reads if b in before - after}
            if not (operations[n].is_elementwise and sizes[written] in freed):
                total += sizes[written]
        return total

    steps = range(len(operations))
    defined = max(bytes_during(frozenset(range(n)), n) for n in steps)
    peaks = {frozenset[int](): 0}
    for _ in steps:
        following: dict[frozenset[int], int] = {}
        for done, peak in peaks.items():
            for n in steps:
                if n not in done and needs[n] <= done:
                    reached = max(peak, bytes_during(done, n))
                    least = following.get(done | {n}, reached)
                    following[done | {n}] = min(least, reached)
        peaks = following
    return defined, min(peaks.values())


@pytest.mark.parametrize(
    ("name", "preset"), [("memory-bank", "tiny"), ("nas-bench-201", None), ("mobile", "tiny")]
)
def test_memory_of_children_is_within_a_third_of_the_best_order_of_execution(name, preset):
    """The order of the definition is not the best one, but close to it."""
    space = make_space(SpaceSettings(name=name, preset=preset, options={}), dims=2)
    for architecture in (space.smallest(), *(space.sample(generator(0, name, n)) for n in (0, 1))):
        trace = record_operations(space.build(architecture, TASK), TASK)
        defined, least = peaks_by_simulation(trace)
        assert peak_memory(trace) == defined
        assert least <= defined <= least * 4 / 3
