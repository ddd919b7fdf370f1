"""All strategies keep one contract, and the suite finds out one that does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smash.searching.strategies import (
    GradientPerturbation,
    MarkovChain,
    Nsga2,
    Perturbation,
    RandomSampling,
    RegularisedEvolution,
    Scored,
    Strategy,
)
from smash.spaces import PRESETS, MemoryBankSpace, NasBench201Space
from smash.testing import check_strategy

SPACES = {"cells": NasBench201Space(), "memory banks": MemoryBankSpace(PRESETS["tiny"])}
STRATEGIES = (
    RandomSampling,
    Perturbation,
    GradientPerturbation,
    MarkovChain,
    RegularisedEvolution,
    Nsga2,
)


def history_of(space, count=24):
    rng = np.random.default_rng(3)
    history = []
    for index in range(count):
        objectives = (float(rng.random()), float(rng.integers(1000)))
        proposed = "random" if index < count // 2 else "evolution"
        history.append(
            Scored(
                space.sample(rng),
                objectives[0],
                proposed,
                lambda: _steepness(space),
                index=index,
                objectives=objectives,
            )
        )
    return history


def _steepness(space):
    return lambda architecture: float(space.features(architecture).sum())


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_a_strategy_keeps_its_contract(strategy, space):
    check_strategy(strategy(SPACES[space]), history_of(SPACES[space]))


class _Remembering(Strategy[Any]):
    """Proposes by how often it was asked."""

    name = "remembering"
    cohort = 1

    def __init__(self):
        self._calls = 0

    def propose(self, history, rng):
        self._calls += 1
        return self._calls


class _Global(Strategy[Any]):
    name = "global"
    cohort = 1

    def propose(self, history, rng):
        return np.random.random()


class _Deaf(Strategy[Any]):
    name = "deaf"
    cohort = 1

    def propose(self, history, rng):
        return 1


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (_Remembering, "the same history must give the same"),
        (_Global, "must not use global random state"),
        (_Deaf, "must give others"),
    ],
)
def test_a_broken_strategy_is_found_out(strategy, words):
    with pytest.raises(AssertionError, match=words):
        check_strategy(strategy(), [Scored(0, 0.5, "random"), Scored(1, 0.4, "random")])
