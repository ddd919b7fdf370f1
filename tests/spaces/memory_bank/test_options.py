from __future__ import annotations

import json

import pytest
import torch

from smash.config import SpaceSettings
from smash.errors import InvalidValueError
from smash.spaces import MemoryBankSpace, make_space
from smash.spaces.memory_bank import Gate, MemoryBankOptions
from smash.spaces.parameters import count_parameters
from tests.spaces.cases import OPTIONS, rng_of, task_of


def test_budgets_defaults_are_published():
    budgets = MemoryBankOptions().budgets
    assert [(b.inputs, b.width, b.positions) for b in budgets] == [
        (64, 192, 52),
        (96, 224, 102),
        (112, 256, 199),
    ]


def test_reference_network_defaults_give_wrn_40_4():
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


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ({"max_width": 60}, ["bank_width (N) must divide max_width", "8 and 60"]),
        ({"max_kernel": 4}, ["max_kernel must be odd", "got 4", "try 5"]),
        ({"max_groups": 3}, ["max_groups must divide bank_width", "got 3", "try 2"]),
        ({"depth_compression": 9, "width": 1}, ["no bank size fits depth_compression 9"]),
        ({"bank_size": 7}, ["no bank size fits", "bank_size 7"]),
        ({"gates": True}, ["gates join two paths", "grid 'single' has one", "try grid='var'"]),
        ({"gates": True, "grid": "long"}, ["grid 'long' has one"]),
    ],
)
def test_options_inconsistent_raise_with_the_rule(values, needed):
    with pytest.raises(InvalidValueError) as caught:
        MemoryBankOptions(**values)
    assert len(caught.value.faults) == 1
    assert all(part in str(caught.value) for part in needed), str(caught.value)


def test_options_report_all_faults():
    with pytest.raises(InvalidValueError) as caught:
        MemoryBankOptions(bank_width=6, max_kernel=4, max_groups=4)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert ["6 and 64" in lines[0], "4" in lines[1], "N = 6" in lines[2]] == [True] * 3


@pytest.mark.parametrize("name", OPTIONS)
def test_smallest_is_cheaper_than_samples(name):
    space = MemoryBankSpace(OPTIONS[name])
    task = task_of(OPTIONS[name])
    least = count_parameters(space.build(space.smallest(), task))
    rng = rng_of(21)
    sampled = [count_parameters(space.build(space.sample(rng, 0.0), task)) for _ in range(12)]
    assert min(sampled) >= least, "seed 21"


THREES = {"depth_compression": 3, "width": 3, "max_width": 48}


@pytest.mark.parametrize("changes", [THREES, {**THREES, "grid": "big", "gates": True}])
def test_smallest_is_cheapest_of_all_single_ops(changes):
    """All blocks of one op that read the least, counted one by one."""
    options = OPTIONS["tiny"].replaced(**changes)
    space, task = MemoryBankSpace(options), task_of(options)
    smallest = space.smallest()
    found = count_parameters(space.build(smallest, task))
    junctions, styles = ("first", "second"), ("multiply", "split")
    gates = [{"junction": j, "style": s} for j in junctions for s in styles if options.gates]
    seen = []
    for bank_size in options.bank_sizes(0):
        for outputs in range(bank_size, options.max_outputs + 1, bank_size):
            for gate in (None, *gates):
                splits = gate is not None and gate["style"] == "split"
                parts = outputs // bank_size
                if parts % (2 if splits else 1):
                    continue
                parts = parts // 2 if splits else parts
                if parts > options.layout.input_banks(0, bank_size):
                    continue
                value = json.loads(json.dumps(space.to_json(smallest)))
                block = value["blocks"][0]
                block["bank_size"] = bank_size
                block["ops"][0] |= {
                    "outputs": outputs,
                    "reads": list(range(options.read_step(bank_size))),
                    "writes": list(range(parts)),
                    "gate": gate,
                }
                seen.append(count_parameters(space.build(space.from_json(value), task)))
    assert len(seen) > 3
    assert min(seen) == found
    # Here a gate that halves the second convolutions saves more than a smaller G.
    assert smallest.blocks[0].ops[0].gate == (Gate("first", "split") if gates else None)


def test_dims_follow_from_the_data():
    settings = SpaceSettings(name="memory-bank", preset="tiny", options={"dims": 2})
    with pytest.raises(InvalidValueError, match="'dims' follows from the data: leave it out"):
        make_space(settings, dims=2)
