"""Search spaces that are one function: what they draw, how children share, and what they refuse."""

from __future__ import annotations

import csv
import math
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import smash
from benchmarks import nas_bench_macro
from smash.config import SpaceSettings
from smash.errors import InvalidValueError
from smash.profiling.cost import measure_cost
from smash.spaces import SPACES, make_space
from smash.spaces.choices import Choices, FunctionSpace
from smash.testing import SPACE_CHECKS

TASK = smash.Task(channels=1, size=(8, 8), classes=4)


class Residual(nn.Module):
    """Two convolutions, and a shortcut that exists only where the widths differ."""

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()

    def forward(self, x):
        return self.shortcut(x) + self.second(self.norm(self.first(x)).relu())


class Head(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, classes)

    def forward(self, x):
        return self.classifier(x.mean((2, 3)))


def staged(choose, task):
    """Stages of residual blocks: choices that depend on others, widths that may be equal."""
    inputs = choose("stem", (4, 8))
    parts = [nn.Conv2d(task.channels, inputs, 3, padding=1)]
    for stage in range(choose("stages", (1, 2))):
        width = choose(f"width {stage}", (4, 8, 12))
        for block in range(choose(f"depth {stage}", (1, 2), weights=(3, 1))):
            parts.append(Residual(inputs, width, choose(f"kernel {stage}.{block}", (3, 5))))
            inputs = width
    return named(
        *((f"part{i}", part) for i, part in enumerate(parts)), head=Head(inputs, task.classes)
    )


def named(*parts, head):
    chain = nn.Sequential()
    for name, part in parts:
        chain.add_module(name, part)
    chain.add_module("head", head)
    return chain


def space_of(function, name="mine", task=TASK):
    return FunctionSpace(function, name, task)


@pytest.mark.parametrize("check", SPACE_CHECKS, ids=lambda check: check.__name__)
def test_a_space_of_stages_keeps_the_contract(check):
    check(space_of(staged), TASK)


def test_sample_reaches_only_the_choices_of_its_own_depth():
    space = space_of(staged)
    for seed in range(20):
        architecture = space.sample(np.random.default_rng(seed))
        depths = [architecture[f"depth {s}"] for s in range(architecture["stages"])]
        kernels = [name for name, _ in architecture.items if name.startswith("kernel")]
        assert len(kernels) == sum(depths)


def test_sample_follows_the_weights():
    space = space_of(staged)
    rng = np.random.default_rng(0)
    deep = sum(space.sample(rng)["depth 0"] == 2 for _ in range(800)) / 800
    assert abs(deep - 0.25) < 0.05  # weights (3, 1); three standard deviations are 0.046


def test_mutate_keeps_what_is_still_valid():
    space = space_of(staged)
    rng = np.random.default_rng(1)
    for _ in range(30):
        architecture = space.sample(rng)
        other = space.mutate(architecture, rng, rate=0.0)  # exactly one choice is redrawn
        shared = [name for name, _ in architecture.items if name in other]
        assert sum(architecture[name] != other[name] for name in shared) == 1


def test_a_shortcut_of_different_widths_is_shared_at_its_largest():
    shapes = space_of(staged).shared_shapes(TASK)
    assert shapes["part2.shortcut.weight"] == (12, 12, 1, 1)  # though 12 → 12 has no shortcut
    assert shapes["part1.first.weight"] == (12, 8, 5, 5)


def test_what_exists_by_two_choices_together_is_shared_at_its_largest():
    def network(choose, task):
        kind, extra = choose("kind", ("a", "b")), choose("extra", (False, True))
        width = math.prod(choose(f"factor {number}", (1, 2, 3)) for number in range(6))
        if kind == "b" and extra:
            return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 4))
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))

    assert space_of(network).shared_shapes(TASK)["1.weight"] == (3**6, 64)


def test_require_refuses_architectures():
    def narrow(choose, task):
        one, two = choose("a", (1, 2, 3)), choose("b", (1, 2, 3))
        choose.require(one + two == 4)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, one * two), nn.Linear(one * two, 4))

    space = space_of(narrow)
    rng = np.random.default_rng(0)
    drawn = {(a["a"], a["b"]) for a in (space.sample(rng) for _ in range(60))}
    assert drawn == {(1, 3), (2, 2), (3, 1)}
    with pytest.raises(InvalidValueError, match="require refuses"):
        space.from_json({"a": 1, "b": 1})


def test_a_pickled_space_is_the_same_space():
    space = space_of(staged)
    again = pickle.loads(pickle.dumps(space))  # noqa: S301
    rng = np.random.default_rng(0)
    architecture = space.sample(rng)
    assert again.identify(architecture) == space.identify(architecture)
    assert again.task == TASK


def test_from_json_names_what_is_wrong():
    space = space_of(staged)
    good = space.to_json(space.smallest())
    for change, message in (
        ({"width 0": 5}, r"choice 'width 0' must be one of 4, 8, 12, got 5"),
        ({"widht 0": 4}, "did you mean 'width 0'"),
        ({"kernel 0.1": 3}, "choice 'kernel 0.1' is not reached"),
        ({"stem": True}, "choice 'stem' must be one of 4, 8, got True"),
    ):
        with pytest.raises(InvalidValueError, match=message):
            space.from_json({**good, **change})


def _linear(*widths):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))


def _no_options(choose, task):
    choose("x", ())
    return _linear()


def _twice(choose, task):
    choose("x", (1, 2, 1))
    return _linear()


def _renamed(choose, task):
    choose("x", (1, 2))
    choose("x", (1, 3))
    return _linear()


def _renamed_elsewhere(choose, task):
    choose("x", (1, 2) if choose("y", (0, 1)) else (1, 3))
    return _linear()


def _unhashable(choose, task):
    choose("x", ([1], [2]))
    return _linear()


def _wrong_size(choose, task):
    choose("x", (1, 2))
    return nn.Sequential(nn.Flatten(), nn.Linear(63, 4))


def _wrong_classes(choose, task):
    choose("x", (1, 2))
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))


def _own_random(choose, task):
    width = random.SystemRandom().choice(range(1, 10**6))
    choose("x", (1, 2))
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 4))


def _zero_weights(choose, task):
    choose("x", (1, 2), weights=(0, 0))
    return _linear()


def _few_weights(choose, task):
    choose("x", (1, 2), weights=(1,))
    return _linear()


def _too_rare(choose, task):
    choose.require(choose("x", (1, 2)) == 3)
    return _linear()


def _no_module(choose, task):
    choose("x", (1, 2))
    return [_linear()]


def _other_axes(choose, task):
    inner = nn.Linear(8, 8) if choose("x", (1, 2)) == 1 else nn.Conv2d(1, 1, 1)
    return nn.Sequential(inner, nn.Flatten(), nn.Linear(64, 4))


def _not_iterable(choose, task):
    choose("x", 5)
    return _linear()


def _letters(choose, task):
    choose("x", "ab")
    return _linear()


def _lazy(choose, task):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(choose("x", (4, 8))), nn.Linear(4, 4))


def _constant(choose, task):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, choose("x", (4, 8))))
    network[0].register_buffer("gain", torch.ones(3))
    return network


def _failing(choose, task):
    choose("x", (1, 2))
    return _linear().unheard_of


def _drawing(choose, task):
    choose("x", (1, 2))
    random.random()  # noqa: S311
    return _linear()


def _repeated(choose, task):
    block = nn.Conv2d(1, 1, choose("x", (1, 3)), padding="same")
    return nn.Sequential(block, block, _linear())


def _numbered(choose, task):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, choose(0, (4, 8))), nn.Linear(4, 4))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_numbered, "choice 0: its name must be a string, as in choose"),
        (_no_options, "choice 'x' has no options"),
        (_twice, "choice 'x' has an option twice: 1, 2, 1"),
        (_renamed, "first asked with the options 1, 2, then with 1, 3"),
        (_renamed_elsewhere, "first asked with the options 1, 2, then with 1, 3"),
        (_unhashable, r"an option must be a string, .* got \[1\]"),
        (_wrong_size, r"does not accept inputs of shape \(2, 1, 8, 8\)"),
        (_wrong_classes, r"must give logits of shape \(2, 4\), got \(2, 5\)"),
        (_own_random, "two builds of the same choices differ"),
        (_zero_weights, "weights must be 2 numbers of at least 0, not all 0"),
        (_few_weights, r"weights must be 2 numbers .* got \[1\]"),
        (_too_rare, "refused 1,000 architectures in a row"),
        (_no_module, "must return a torch.nn.Module, got a list"),
        (_not_iterable, "choice 'x': options must be a tuple or a list, got 5"),
        (_letters, "choice 'x': options must be a tuple or a list, got 'ab'"),
        (_lazy, "has a lazy layer, '1.weight': give the layer its number of inputs"),
        (_constant, "has buffer '0.gain': only BatchNorms may have buffers"),
        (_failing, r"fails in test_choices.py, line \d+: AttributeError: .* 'unheard_of'"),
        (_drawing, "it draws random numbers: draw random numbers by choose alone"),
        (_repeated, "holds parameter '1.weight' under another name too: make each layer anew"),
        (_other_axes, "has . axes with .* and . with other choices"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_use_is_one_line(function, message):
    with pytest.raises(InvalidValueError, match=message) as raised:
        space_of(function).shared_shapes(TASK)
    assert len(str(raised.value).splitlines()) == 1


def test_a_function_of_one_network_is_refused():
    def fixed(choose, task):
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 1024, task.classes))

    def settled(choose, task):
        choose("width", (4,))
        return fixed(choose, task)

    for function in (fixed, settled):
        with pytest.raises(InvalidValueError, match="holds one network, so there is nothing to"):
            FunctionSpace(function, "one").smallest()


def of_other_names(pick, about):
    width = pick("width", (4, 8))
    layers = nn.Linear(3072, width), nn.Linear(width, about.classes)
    return nn.Sequential(nn.Flatten(), *layers)


def test_a_function_may_name_its_parameters_otherwise():
    space = FunctionSpace(of_other_names, "named")
    definition = space.definition(space.smallest(), space.task)
    assert {*definition.arguments} == {"pick", "about"}
    assert [each.shape for each in definition.build().parameters()] == [
        (4, 3072),
        (4,),
        (10, 4),
        (10,),
    ]


@pytest.mark.parametrize("function", [lambda *both: None, lambda choose, task, /: None])
def test_a_function_without_names_for_both_is_refused(function):
    with pytest.raises(InvalidValueError, match=r"must take \(choose, task\)"):
        FunctionSpace(function, "mine")


def test_a_function_of_another_signature_is_refused():
    with pytest.raises(InvalidValueError, match=r"must take \(choose, task\)"):
        FunctionSpace(lambda choose: _linear(), "mine")


@pytest.mark.parametrize("what", [5, "mob"])
def test_a_space_of_no_function_is_refused(what):
    with pytest.raises(InvalidValueError, match="must be made of a function network"):
        smash.space(what)


@pytest.mark.parametrize("name", ["mobile", "memory-bank", "nas-bench-201"])
def test_a_function_does_not_take_the_place_of_a_built_in_space(name):
    before = SPACES[name]
    with pytest.raises(InvalidValueError, match=f"space '{name}' is built in"):
        smash.space(staged, name=name)
    assert SPACES[name] is before


def test_a_function_has_neither_options_nor_presets():
    made = smash.space(staged, name="of-stages")
    try:
        assert make_space(SpaceSettings(name=made.name), dims=2) is made
        settings = SpaceSettings(name=made.name, preset="tiny", options={"depth": 9})
        with pytest.raises(InvalidValueError) as caught:
            make_space(settings, dims=2)
    finally:
        SPACES.pop(made.name)
    assert caught.value.faults == (
        "space 'of-stages' has no options, got depth: leave it out",
        "space 'of-stages' has no presets, got 'tiny': leave it out",
    )


def test_building_draws_nothing_from_the_global_generator():
    space = space_of(staged)
    before = torch.get_rng_state()
    space.build(space.largest(), TASK, "cpu")
    assert torch.equal(torch.get_rng_state(), before)


@st.composite
def functions(draw):
    """Network functions at random: nested choices that decide depth, width, kernel and kind."""
    depths = draw(st.lists(st.integers(1, 3), min_size=2, max_size=3, unique=True))
    widths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True))
    kernels = draw(st.lists(st.sampled_from([1, 3, 5]), min_size=1, max_size=2, unique=True))
    skip = draw(st.booleans())

    def function(choose, task):
        inputs, parts = task.channels, []
        for layer in range(choose("depth", tuple(depths))):
            width = choose(f"width {layer}", tuple(widths))
            if skip and choose(f"kind {layer}", ("residual", "plain")) == "residual":
                parts.append((f"r{layer}", Residual(inputs, width, choose(f"k{layer}", kernels))))
            else:
                parts.append((f"p{layer}", nn.Conv2d(inputs, width, 1)))
            inputs = width
        return named(*parts, head=Head(inputs, task.classes))

    return function


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(functions())
def test_random_functions_share_every_parameter(function):
    space = space_of(function)
    for check in SPACE_CHECKS:
        if check.__name__ not in ("check_identity", "check_generated_state"):
            check(space, TASK)


def nas_bench_macro_space():
    return FunctionSpace(
        nas_bench_macro.network,
        "nas-bench-macro",
        smash.Task(channels=3, size=(32, 32), classes=10),
    )


def test_nas_bench_macro_has_the_published_counts():
    # Sums by hand over stem, blocks and head for three rows of the published table.
    rows = [("00011201", 1283114, 36360704), ("22010121", 1928682, 63257088),
            ("01220101", 1234282, 48437760)]  # fmt: skip
    path = Path(os.environ.get("SMASH_SHARED", "")) / "data" / "nas_bench_macro_1000.csv"
    if os.environ.get("SMASH_SHARED") and path.is_file():
        with path.open() as file:
            table = list(csv.DictReader(file))[::50]
        rows += [(r["architecture"], int(r["params"]), int(r["flops"])) for r in table]
    space = nas_bench_macro_space()
    kinds = tuple(nas_bench_macro.BLOCKS)
    for digits, params, macs in rows:
        architecture = Choices(
            tuple((f"layer {i}", kinds[int(digit)]) for i, digit in enumerate(digits))
        )
        cost = measure_cost(space, architecture, space.task)
        assert (cost.params, cost.macs) == (params, macs)
