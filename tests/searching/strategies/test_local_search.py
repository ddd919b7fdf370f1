from __future__ import annotations

import numpy as np
import pytest

from smash.searching.strategies import GradientPerturbation, MarkovChain, Perturbation
from smash.spaces import PRESETS, MemoryBankSpace
from tests.study.candidates import make_candidate

SPACE = MemoryBankSpace(PRESETS["tiny"])


@pytest.fixture
def base():
    return SPACE.sample(np.random.default_rng(0))


@pytest.fixture
def history(base):
    return [
        make_candidate("a", 0.1, architecture=SPACE.smallest(), strategy="markov"),
        make_candidate("b", 0.5, architecture=base),
        make_candidate("c", 0.9, architecture=SPACE.largest()),
    ]


def test_perturbation_mutates_the_best_random_architecture(history, base):
    proposed = Perturbation(SPACE, 0.2).propose(history, np.random.default_rng(1), 2)
    rng = np.random.default_rng(1)
    assert proposed == [SPACE.mutate(base, rng, 0.2) for _ in range(2)]


def test_markov_chain_mutates_the_best_architecture_of_all(history):
    proposed = MarkovChain(SPACE, 0.2).propose(history, np.random.default_rng(1), 1)
    assert proposed == [SPACE.mutate(SPACE.smallest(), np.random.default_rng(1), 0.2)]


def test_markov_chain_passes_over_partial_scores(history, base):
    history[0].partial = True
    proposed = MarkovChain(SPACE, 0.2).propose(history, np.random.default_rng(1), 1)
    assert proposed == [SPACE.mutate(base, np.random.default_rng(1), 0.2)]


def test_gradient_perturbation_proposes_the_steepest_of_a_pool(history, base):
    bases, seen = [], []

    def slope_at(architecture):
        bases.append(architecture)
        return slope

    def slope(other):
        seen.append(other)
        return float(sum(op.outputs for block in other.blocks for op in block.ops))

    strategy = GradientPerturbation(SPACE, slope_at, 0.2, pool=8)
    proposed = strategy.propose(history, np.random.default_rng(1), 2)
    drawn = list(seen)
    assert drawn == Perturbation(SPACE, 0.2).propose(history, np.random.default_rng(1), 16)
    assert [slope(each) for each in proposed] == [
        min(map(slope, drawn[:8])),
        min(map(slope, drawn[8:])),
    ]
    strategy.propose(history, np.random.default_rng(2), 1)
    assert bases == [base]  # the gradient of one base is computed once
