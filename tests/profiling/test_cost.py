from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from smash.profiling.cost import Cost, cost_of, measure_cost, survey
from smash.spaces import MemoryBankSpace, NasBench201Space, Task
from smash.spaces.baselines import make_baseline
from tests.spaces.cases import OPTIONS


def count_module_macs(child: nn.Module, task: Task) -> int:
    """Counts the MACs of convolutions and linear layers from their shapes alone."""
    macs = []

    def count(module, inputs, output):
        macs.append(output.numel() * math.prod(module.weight.shape[1:]))

    for module in child.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
            module.register_forward_hook(count)
    child.eval()(torch.empty(1, task.channels, *task.size, device="meta"))
    return sum(macs)


@pytest.mark.parametrize("name", ["v1", "original", "signal", "voxels", "gates-post"])
def test_macs_of_memory_banks_is_sum_over_layers(name):
    options = OPTIONS[name]
    task = Task(channels=2, size=(8,) * options.dims, classes=3)
    space = MemoryBankSpace(options)
    child = space.build(space.sample(np.random.default_rng(0)), task)
    assert cost_of(child, task).macs == count_module_macs(child, task)


@pytest.mark.parametrize("name", ["resnet18", "wrn-16-2", "densenet121", "vgg11_bn"])
def test_macs_of_baseline_is_sum_over_layers(name):
    task = Task(channels=3, size=(32, 32), classes=10)
    child = make_baseline(name, task, "meta")
    assert cost_of(child, task).macs == count_module_macs(child, task)


def test_macs_of_cells_is_sum_over_layers():
    task, space = Task(channels=3, size=(32, 32), classes=10), NasBench201Space()
    child = space.build(space.sample(np.random.default_rng(0)), task)
    assert cost_of(child, task).macs == count_module_macs(child, task)


@pytest.mark.parametrize("name", [n for n in OPTIONS if n not in ("v1", "original")])
def test_measure_cost_agrees_with_torchs_flop_counter(name):
    options = OPTIONS[name]
    task = Task(channels=2, size=(8,) * options.dims, classes=3)
    space = MemoryBankSpace(options)
    architecture = space.sample(np.random.default_rng(0))
    child = space.build(architecture, task).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        child(torch.empty(1, 2, *task.size, device="meta"))
    cost = measure_cost(space, architecture, task)
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
def test_macs_of_transposed_convolution_is_inputs_times_filter(layer, size):
    macs = cost_of(layer.to("meta"), Task(channels=4, size=size, classes=2)).macs
    filters = layer.out_channels // layer.groups * math.prod(layer.kernel_size)
    assert macs == 4 * math.prod(size) * filters  # each input value goes into as many sums


TOKENS, WIDTH = 64, 32
PROJECTIONS = 4 * TOKENS * WIDTH**2  # of queries, keys, values and the output
PRODUCTS = 2 * TOKENS**2 * WIDTH  # queries with keys, and weights with values


class Attention(nn.Module):
    """Self-attention over the positions of a signal (n, width, tokens), in one of several ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.heads = nn.MultiheadAttention(WIDTH, 4, batch_first=True)

    def forward(self, signal):
        tokens = signal.mT
        if self.how == "MultiheadAttention":
            return self.heads(tokens, tokens, tokens)[0]
        query, key, value = self.project(tokens).chunk(3, -1)
        if self.how == "scaled_dot_product_attention":
            return self.out(scaled_dot_product_attention(query, key, value))
        if self.how == "matmul":
            return self.out((query @ key.mT).softmax(-1) @ value)
        if self.how == "bmm":
            return self.out(torch.bmm(torch.bmm(query, key.mT).softmax(-1), value))
        weights = torch.einsum("nqc,nkc->nqk", query, key).softmax(-1)
        return self.out(torch.einsum("nqk,nkc->nqc", weights, value))


@pytest.mark.parametrize(
    "how", ["MultiheadAttention", "scaled_dot_product_attention", "matmul", "bmm", "einsum"]
)
def test_macs_of_attention_includes_its_matrix_products(how):
    with torch.device("meta"):
        child = Attention(how)
    macs = cost_of(child, Task(channels=WIDTH, size=(TOKENS,), classes=2)).macs
    assert macs == PROJECTIONS + PRODUCTS


def test_macs_of_transformer_layer_is_as_worked_out():
    with torch.device("meta"):
        child = nn.TransformerEncoderLayer(WIDTH, 4, dim_feedforward=48, batch_first=True)
    # The layer takes (n, tokens, width); a task has channels first, so channels are the tokens.
    macs = cost_of(child, Task(channels=TOKENS, size=(WIDTH,), classes=2)).macs
    assert macs == PROJECTIONS + PRODUCTS + 2 * TOKENS * WIDTH * 48


def test_cost_of_a_child_keeps_its_training_mode():
    child = nn.Conv1d(1, 1, 1, device="meta")
    for training in (True, False):
        child.train(training)
        cost_of(child, Task(channels=1, size=(4,), classes=2))
        assert child.training is training


def test_survey_repeated_gives_the_same_in_order_of_parameters():
    space, task = MemoryBankSpace(OPTIONS["tiny"]), Task(channels=1, size=(8, 8), classes=10)
    pairs = survey(space, task, samples=5)
    assert pairs == survey(space, task, samples=5)
    params = [each for each, _ in pairs]
    assert params == sorted(params)
    assert [measure_cost(space, each, task).params for _, each in pairs] == params


def test_smallest_architecture_has_fewest_parameters():
    space, task = MemoryBankSpace(OPTIONS["tiny"]), Task(channels=1, size=(8, 8), classes=10)
    smallest = measure_cost(space, space.smallest(), task)
    assert isinstance(smallest, Cost)
    for params, _ in survey(space, task, samples=20):
        assert smallest.params <= params
