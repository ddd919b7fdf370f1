"""The conformance suite passes for the spaces of this package, and finds broken ones."""

from __future__ import annotations

import functools
import itertools
import random
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from smash import testing
from smash.spaces import MemoryBankSpace, NasBench201Space, SearchSpace, Task
from smash.spaces.base import Definition
from smash.spaces.choices import FunctionSpace
from smash.spaces.nas_bench_201 import NasBench201Options
from smash.testing import SPACE_CHECKS
from tests.spaces.cases import OPTIONS
from tests.spaces.chain import Chain, ChainNetwork, ChainSpace

IMAGES = Task(channels=2, size=(8, 8), classes=3)
CELLS = NasBench201Options(channels=4, cells=1)
SPACES: dict[str, tuple[SearchSpace[Any], Task]] = {
    "chain": (ChainSpace(), IMAGES),
    "memory banks": (MemoryBankSpace(OPTIONS["tiny"]), IMAGES),
    "memory banks, all variable": (MemoryBankSpace(OPTIONS["all-variable"]), IMAGES),
    "cells": (NasBench201Space(CELLS), IMAGES),
    "cells, distinct": (
        NasBench201Space(CELLS.replaced(distinct=True, connected=True)),
        Task(channels=1, size=(7, 5), classes=2),
    ),
    "cells of signals": (NasBench201Space(CELLS), Task(channels=2, size=(9,), classes=3)),
    "cells of voxels": (NasBench201Space(CELLS), Task(channels=1, size=(4, 5, 6), classes=2)),
}


# One of each class: a new process takes seconds to import torch.
IN_ANOTHER_PROCESS = ("memory banks, all variable", "cells, distinct")


@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(name, check, id=f"{name}-{check.__name__}")
        for name in SPACES
        for check in SPACE_CHECKS
        if check is not testing.check_identity or name in IN_ANOTHER_PROCESS
    ],
)
def test_check_space_own_space_passes(name, check):
    check(*SPACES[name])


def test_check_definition_passes_over_a_function_of_a_script(monkeypatch):
    def network(choose, task):
        width = choose("width", (4, 8))
        layers = nn.Linear(task.channels, width), nn.Linear(width, task.classes)
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *layers)

    monkeypatch.setattr(network, "__module__", "__main__")
    task = Task(channels=1, size=(8, 8), classes=10)
    testing.check_definition(FunctionSpace(network, "of-a-script"), task)


class _Unstable(ChainSpace):
    """Its ids differ from process to process."""

    def identify(self, architecture: Chain) -> str:
        return str(hash(str(architecture)))


class _Forgetful(ChainSpace):
    def from_json(self, value):
        chain = super().from_json(value)
        return Chain((replace(chain.blocks[0], kernel=3), *chain.blocks[1:]))


class _Global(ChainSpace):
    def sample(self, rng, progress=1.0):
        chain = super().sample(rng)
        return Chain(tuple(replace(b, width=random.choice((4, 8))) for b in chain.blocks))  # noqa: S311


class _Lazy(ChainSpace):
    def mutate(self, architecture, rng, rate=0.05):
        return architecture if rng.random() < 0.1 else super().mutate(architecture, rng, rate)


class _Invalid(ChainSpace):
    def mutate(self, architecture, rng, rate=0.05):
        return Chain(super().mutate(architecture, rng, rate).blocks[:2])


class _Real(ChainSpace):
    """Builds on the CPU whatever the device."""

    def build(self, architecture, task, device="meta"):
        return super().build(architecture, task, "cpu")


class _Headless(ChainSpace):
    def network(self, architecture, task):
        child = super().network(architecture, task)
        child.classifier = torch.nn.Identity()
        return child


class _Narrow(ChainSpace):
    def largest(self):
        return Chain(tuple(replace(block, kernel=3) for block in super().largest().blocks))


class _Cheaper(ChainSpace):
    def smallest(self):
        return Chain(tuple(replace(block, expansion=2) for block in super().smallest().blocks))


class _Growing(ChainSpace):
    def features(self, architecture):
        return super().features(architecture)[: 10 + architecture.blocks[0].width]


class _Misdefined(ChainSpace):
    """Defines another network than it builds."""

    def definition(self, architecture, task):
        arguments = {"chain": self.smallest(), "task": task}
        return Definition((ChainNetwork.__module__,), ChainNetwork, arguments)


class _Negative(ChainSpace):
    def readable(self, architecture):
        return {"shift": -1.0}


class _Constant(ChainSpace):
    def network(self, architecture, task):
        child = super().network(architecture, task)
        child.blocks[0].register_buffer("gain", torch.full((1,), 2.0))
        return child


class _Dropping(ChainSpace):
    """Drops half of what the classifier reads, which a state must not depend on."""

    def network(self, architecture, task):
        child = super().network(architecture, task)
        child.blocks.append(torch.nn.Dropout(0.5))
        norm = torch.nn.BatchNorm2d(architecture.blocks[-1].width, affine=False)
        child.blocks.append(norm)
        return child


class _Noisy(_Dropping):
    """Drops in eval mode too, as `F.dropout` does where nobody thinks of it."""

    def network(self, architecture, task):
        child = super().network(architecture, task)
        drop = child.blocks[-2]
        drop.forward = functools.partial(torch.nn.functional.dropout, p=0.5)
        return child


class _Careless(ChainSpace):
    def from_json(self, value):
        len(value["blocks"])
        return super().from_json(value)


class _Numpy(ChainSpace):
    def to_json(self, architecture):
        return {"width": np.int64(3)}


class _Tied(ChainSpace):
    def network(self, architecture, task):
        child = super().network(architecture, task)
        child.again = child.classifier
        return child


_CALLS = itertools.count()


class _Drifting(ChainSpace):
    def readable(self, architecture):
        return {"width": float(next(_CALLS))}


@pytest.mark.parametrize(
    ("space", "check", "words"),
    [
        (_Unstable, testing.check_identity, "must not depend on the process"),
        (_Forgetful, testing.check_json, "must return"),
        (_Careless, testing.check_json, "must raise InvalidValueError for {}, raised KeyError"),
        (_Numpy, testing.check_json, "to_json must give plain JSON: .*int64"),
        (_Global, testing.check_randomness, "must not use global random state"),
        (_Lazy, testing.check_mutation, "must change"),
        (_Invalid, testing.check_mutation, "a chain has 3 blocks"),
        (_Real, testing.check_children, "must hold no values"),
        (_Headless, testing.check_children, "logits must be"),
        (_Narrow, testing.check_sharing, "does not fit"),
        (_Tied, testing.check_sharing, "parameter again.weight must have one name"),
        (_Cheaper, testing.check_extremes, "must not cost more"),
        (_Misdefined, testing.check_definition, "must build the same child"),
        (_Growing, testing.check_features, "equally many features"),
        (_Drifting, testing.check_features, "equal features"),
        (_Negative, testing.check_features, "must be in 0…1,048,576"),
        (_Constant, testing.check_children, "built without values.*blocks.0.gain"),
        (_Noisy, testing.check_generated_state, "must be repeatable"),
    ],
)
def test_check_space_broken_space_raises(space, check, words):
    with pytest.raises((AssertionError, ValueError), match=words):
        check(space(), IMAGES)


def test_check_generated_state_dropout_passes():
    testing.check_generated_state(_Dropping(), IMAGES)


@pytest.mark.parametrize("check", [testing.check_children, testing.check_definition])
def test_check_binds_the_space_to_the_task(check):
    check(FunctionSpace(_of_each_channel, "channels"), Task(channels=4, size=(4,), classes=2))


def _of_each_channel(choose, task):
    """Chooses more for a task with more channels; an unbound space knows of three."""
    widths = [choose(f"width {channel}", (2, 4)) for channel in range(task.channels)]
    return nn.Sequential(
        nn.Conv1d(task.channels, sum(widths), 1),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(sum(widths), task.classes),
    )


def test_check_space_runs_all_checks():
    testing.check_space(ChainSpace(depth=2), IMAGES)
    with pytest.raises(AssertionError):
        testing.check_space(_Forgetful(), IMAGES)


def test_check_identity_runs_in_a_script_without_a_guard(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(
        "import smash\n"
        "from torch import nn\n"
        "from smash.testing import check_identity\n"
        "def mine(choose, task):\n"
        "    width = choose('width', (4, 8, 12))\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.Linear(width, 3))\n"
        "task = smash.Task(channels=1, size=(4, 4), classes=3)\n"
        "check_identity(smash.space(mine), task)\n"
    )
    subprocess.run([sys.executable, script], check=True)
