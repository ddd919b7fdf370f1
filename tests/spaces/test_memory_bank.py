from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from smash.errors import InvalidValueError
from smash.spaces import MemoryBankSpace, Task
from smash.spaces.base import corner
from smash.spaces.memory_bank import (
    Block,
    Convolution,
    MemoryBankArchitecture,
    MemoryBankOptions,
    Op,
)
from smash.spaces.memory_bank.architecture import GRIDS, check
from smash.spaces.memory_bank.network import MemoryBlock
from tests.spaces.options import OPTIONS

PLAIN = Convolution((3, 3), (1, 1), 1, "relu")
SINGLE = (PLAIN, None, None, None)


def task(options: MemoryBankOptions) -> Task:
    return Task(channels=2, size=(8,) * options.dims, classes=3)


def assert_valid(architecture: MemoryBankArchitecture, options: MemoryBankOptions, why: str):
    """The rules of the method, written independently of the package's own check."""
    assert check(architecture, options) == [], why
    for index, block in enumerate(architecture.blocks):
        budget = options.budgets[index]
        channels = block.bank_size * options.bank_width
        assert budget.inputs % channels == 0, why
        holding, spent = set(range(budget.inputs // channels)), 0
        assert block.ops, why
        for op in block.ops:
            assert set(op.reads) <= holding, why
            new = sorted(set(op.writes) - holding)
            assert new == list(range(len(holding), len(holding) + len(new))), why
            assert len(op.writes) >= op.outputs // block.bank_size >= 1, why
            holding |= set(op.writes)
            read_channels = len(op.reads) * channels
            assert read_channels % (options.bank_width * options.depth_compression) == 0, why
            spent += read_channels // (options.bank_width * options.depth_compression)
        assert spent <= budget.positions, why
        assert len(holding) * channels <= budget.width, why


@pytest.mark.parametrize("name", OPTIONS)
def test_samples_are_valid(name):
    options = OPTIONS[name]
    space = MemoryBankSpace(options)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        architecture = space.sample(rng, progress=seed / 149)
        assert_valid(architecture, options, f"{name}, seed {seed}")


@pytest.mark.parametrize("name", OPTIONS)
def test_chains_of_mutations_are_valid(name):
    options = OPTIONS[name]
    space = MemoryBankSpace(options)
    rng = np.random.default_rng(1)
    for chain in range(3):
        architecture = space.sample(rng)
        for step in range(60):
            why = f"{name}, seed 1, chain {chain}, step {step}"
            changed = space.mutate(architecture, rng, rate=0.2)
            assert changed != architecture, why
            assert_valid(changed, options, why)
            for before, after in zip(architecture.blocks, changed.blocks, strict=True):
                assert after.bank_size == before.bank_size, why
                assert len(after.ops) <= len(before.ops), why
            architecture = changed


def test_budgets_are_the_published_ones():
    budgets = MemoryBankOptions().budgets
    assert [(b.inputs, b.width, b.positions) for b in budgets] == [
        (64, 192, 52),
        (96, 224, 102),
        (112, 256, 199),
    ]


def test_reference_is_wrn_40_4():
    name, params = MemoryBankSpace().reference()
    assert name == "WRN-40-4"
    layers = [torch.nn.Conv2d(3, 16, 3, bias=False)]
    for inputs, width in ((16, 64), (64, 128), (128, 256)):
        layers += [torch.nn.Conv2d(inputs, width, 1, bias=False), torch.nn.BatchNorm2d(inputs)]
        layers += [torch.nn.Conv2d(inputs, width, 3, bias=False)]
        for _ in range(11):
            layers += [torch.nn.BatchNorm2d(width), torch.nn.Conv2d(width, width, 3, bias=False)]
    layers += [torch.nn.BatchNorm2d(256)]
    assert params == sum(value.numel() for layer in layers for value in layer.parameters())
    assert round(params / 1e6, 1) == 8.9


@pytest.mark.parametrize(("progress", "kernels"), [(0, {3}), (0.2, {3, 5}), (0.4, {3, 5, 7})])
def test_kernels_grow_while_training(progress, kernels):
    space, rng = MemoryBankSpace(), np.random.default_rng(0)
    drawn = {
        extent
        for _ in range(20)
        for block in space.sample(rng, progress).blocks
        for op in block.ops
        for extent in op.grid[0].kernel
    }
    assert drawn == kernels


def test_grids_have_their_probabilities():
    space, rng = MemoryBankSpace(OPTIONS["v2"]), np.random.default_rng(0)
    counts = Counter(
        tuple(conv is not None for conv in op.grid)
        for _ in range(100)
        for block in space.sample(rng).blocks
        for op in block.ops
    )
    total = sum(counts.values())
    for grid, probability in GRIDS.items():
        # Three standard deviations of a binomial proportion.
        tolerance = 3 * (probability * (1 - probability) / total) ** 0.5
        assert abs(counts[grid] / total - probability) < tolerance, (grid, total)


@pytest.mark.parametrize("name", OPTIONS)
def test_json_round_trip_keeps_the_id(name):
    space = MemoryBankSpace(OPTIONS[name])
    architecture = space.sample(np.random.default_rng(2))
    text = json.dumps(space.to_json(architecture))
    again = space.parse(text)
    assert again == architecture
    assert space.identify(again) == space.identify(architecture)


def test_id_is_the_same_in_another_process():
    code = (
        "import numpy as np; from smash import MemoryBankSpace as S; "
        "print(S().identify(S().sample(np.random.default_rng(3))))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    space = MemoryBankSpace()
    assert other.stdout.strip() == space.identify(space.sample(np.random.default_rng(3)))


def test_id_depends_on_structure_alone():
    architecture = MemoryBankSpace().sample(np.random.default_rng(3))
    published = MemoryBankSpace().identify(architecture)
    assert MemoryBankSpace(MemoryBankOptions(depth=20)).identify(architecture) == published
    assert MemoryBankSpace(MemoryBankOptions(op_norm=True)).identify(architecture) != published


@pytest.mark.parametrize(
    "value", [{}, {"blocks": 3}, {"blocks": [{}] * 3}, {"blocks": []}, {"blocks": [None] * 3}]
)
def test_what_is_no_architecture_is_refused(value):
    with pytest.raises(InvalidValueError):
        MemoryBankSpace().from_json(value)


def test_all_faults_of_options_are_reported_at_once():
    with pytest.raises(InvalidValueError) as caught:
        MemoryBankOptions(bank_width=6, max_kernel=4, max_groups=4)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert ["6 and 64" in lines[0], "4" in lines[1], "N = 6" in lines[2]] == [True] * 3


@pytest.mark.parametrize("name", OPTIONS)
def test_every_parameter_fits_its_shared_tensor(name):
    options = OPTIONS[name]
    space, rng = MemoryBankSpace(options), np.random.default_rng(4)
    shapes = space.shared_shapes(task(options))
    for architecture in (space.smallest(), space.largest(), *(space.sample(rng) for _ in range(5))):
        assert check(architecture, options) == []
        child = space.build(architecture, task(options))
        for parameter, value in child.named_parameters():
            assert value.is_meta
            corner(shapes[space.shared_name(parameter)], tuple(value.shape))


def block_of(ops: list[Op], bank_size: int, options: MemoryBankOptions) -> MemoryBlock:
    torch.manual_seed(0)
    block = MemoryBlock(Block(bank_size, tuple(ops)), options, "cpu").double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return block.eval()


def op_by_hand(op: Any, x: torch.Tensor) -> torch.Tensor:
    """BatchNorm, ReLU, 1×1 convolution, BatchNorm, ReLU, 3×3 convolution."""
    for norm, weight, padding in (
        (op.norm, op.project.weight, 0),
        (op.project_norm, op.a1.conv.weight, 1),
    ):
        x = (x - norm.running_mean[:, None, None]) / (norm.running_var + norm.eps).sqrt()[
            :, None, None
        ]
        x = x * norm.weight[:, None, None] + norm.bias[:, None, None]
        x = F.conv2d(x.clamp(min=0), weight, padding=padding)
    return x


BLOCK_OPTIONS = MemoryBankOptions(depth=3, width=1, bank_width=4, max_width=16, max_groups=4)


def test_a_residual_block_is_an_architecture():
    ops = [Op((0, 1), (0, 1), 2, SINGLE)] * 2
    block = block_of(ops, 1, BLOCK_OPTIONS)
    x = torch.randn(2, 8, 5, 5, dtype=torch.double)
    expected = x
    for op in block.ops:
        expected = expected + op_by_hand(op, expected)
    torch.testing.assert_close(block(x), expected)


def test_a_dense_block_is_an_architecture():
    ops = [Op((0, 1), (2,), 1, SINGLE), Op((0, 1, 2), (3,), 1, SINGLE)]
    block = block_of(ops, 1, BLOCK_OPTIONS)
    x = torch.randn(2, 8, 5, 5, dtype=torch.double)
    expected = x
    for op in block.ops:
        expected = torch.cat([expected, op_by_hand(op, expected)], 1)
    torch.testing.assert_close(block(x), expected)


def test_a_fractal_block_is_an_architecture():
    # Left column: one op. Right column: two in a row. They join in banks 4 and 5.
    ops = [
        Op((0, 1), (2, 3), 2, SINGLE),
        Op((2, 3), (4, 5), 2, SINGLE),
        Op((0, 1), (4, 5), 2, SINGLE),
        Op((4, 5), (6, 7), 2, SINGLE),
    ]
    block = block_of(ops, 1, BLOCK_OPTIONS)
    x = torch.randn(2, 8, 5, 5, dtype=torch.double)
    first, second, short, after = block.ops
    deep = op_by_hand(second, op_by_hand(first, x))
    joined = (deep + op_by_hand(short, x)) / 2  # a fractal join averages
    # The scale folds into what follows: here into the statistics of its first BatchNorm.
    after.norm.running_mean.fill_(0)
    expected = op_by_hand(after, joined * 2)
    torch.testing.assert_close(block(x)[:, 24:], expected)
    torch.testing.assert_close(block(x)[:, 16:24] / 2, joined)


def test_outputs_cycle_over_the_banks_they_are_written_to():
    block = block_of([Op((0, 1), (0, 1, 2), 1, SINGLE)], 1, BLOCK_OPTIONS)
    x = torch.randn(1, 8, 5, 5, dtype=torch.double)
    part = op_by_hand(block.ops[0], x)
    torch.testing.assert_close(block(x), torch.cat([x[:, :4] + part, x[:, 4:] + part, part], 1))
