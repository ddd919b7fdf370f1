"""All strategies keep one contract, and the suite finds one that does not."""

from __future__ import annotations

from functools import partial
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
    Strategy,
)
from smash.spaces import PRESETS, MemoryBankSpace, NasBench201Space
from smash.testing import check_strategy
from tests.searching.strategies.histories import make_history
from tests.study.candidates import make_candidate

SPACES = {"cells": NasBench201Space(), "memory banks": MemoryBankSpace(PRESETS["tiny"])}
STRATEGIES = {
    "random": RandomSampling,
    "perturb": Perturbation,
    "gradient": lambda space: GradientPerturbation(space, lambda base: partial(feature_sum, space)),
    "markov": MarkovChain,
    "evolution": RegularisedEvolution,
    "nsga2": lambda space: Nsga2(space, ["loss", "params"]),
}


def feature_sum(space, architecture):
    return float(space.features(architecture).sum())


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]


@pytest.fixture
def history(space):
    rng = np.random.default_rng(3)
    random = make_history(space, rng.random(12), seed=1)
    evolved = make_history(space, rng.random(12), "evolution", seed=2)
    for candidate in (*random, *evolved):
        candidate.params = int(rng.integers(1000))
    return [*random, *evolved]


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategy_keeps_the_contract(name, space, history):
    strategy = STRATEGIES[name](space)
    assert strategy.name == name
    check_strategy(strategy, history)


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategy_proposes_the_same_one_by_one_and_together(name, space, history):
    strategy = STRATEGIES[name](space)
    rng = np.random.default_rng(1)
    alone = [strategy.propose(history, rng, 1)[0] for _ in range(3)]
    assert strategy.propose(history, np.random.default_rng(1), 3) == alone


class _Remembering(Strategy[Any]):
    """Proposes by how often it was asked."""

    name = "remembering"
    cohort = 1

    def __init__(self):
        self._calls = 0

    def propose(self, history, rng, n):
        self._calls += n
        return list(range(self._calls - n, self._calls))


class _Global(Strategy[Any]):
    name = "global"
    cohort = 1

    def propose(self, history, rng, n):
        return np.random.random(n).tolist()


class _Deaf(Strategy[Any]):
    name = "deaf"
    cohort = 1

    def propose(self, history, rng, n):
        return [1] * n


class _Few(Strategy[Any]):
    name = "few"
    cohort = 1

    def propose(self, history, rng, n):
        return [rng.random()]


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (_Remembering, "the same history must give the same"),
        (_Global, "must not use global random state"),
        (_Deaf, "must give others"),
        (_Few, "must give as many"),
    ],
)
def test_check_strategy_of_a_broken_strategy_raises(strategy, words):
    with pytest.raises(AssertionError, match=words):
        check_strategy(strategy(), [make_candidate("a"), make_candidate("b", 0.4)])
