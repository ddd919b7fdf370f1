from __future__ import annotations

import numpy as np
import pytest

from smash.searching.strategies import RegularisedEvolution
from smash.spaces import NasBench201Space
from tests.searching.strategies.histories import make_history

SPACE = NasBench201Space()


class RecordingSpace(NasBench201Space):
    """Records the architectures that are mutated."""

    def __init__(self):
        super().__init__()
        self.mutated = []

    def mutate(self, architecture, rng, rate=0.05):
        self.mutated.append(architecture)
        return super().mutate(architecture, rng, rate)


def test_population_drops_the_worst_founders_first():
    founders = make_history(SPACE, [0.3, 0.1, 0.2, 0.4])
    children = make_history(SPACE, [0.9, 0.8], "evolution", seed=1)
    chain = make_history(SPACE, [0.15], "markov", seed=2)
    strategy = RegularisedEvolution(SPACE, population=4)
    members = strategy.population([*founders, children[0], *chain, children[1]])
    assert [member.value for member in members] == [0.15, 0.1, 0.9, 0.8]
    assert len(RegularisedEvolution(SPACE).population(founders)) == 4


def test_population_drops_partial_founders_before_full_ones():
    founders = make_history(SPACE, [0.3, 0.1, 0.2])
    founders[1].partial = True
    members = RegularisedEvolution(SPACE, population=2).population(founders)
    assert [member.value for member in members] == [0.3, 0.2]


def test_population_orders_children_by_proposal():
    children = make_history(SPACE, [0.3, 0.1, 0.2], "evolution")
    for child, index in zip(children, (2, 0, 1), strict=True):
        child.index = index
    members = RegularisedEvolution(SPACE, population=2).population(children)
    assert [member.index for member in members] == [1, 2]


def test_propose_mutates_the_best_of_a_tournament():
    space = RecordingSpace()
    history = make_history(SPACE, np.linspace(1, 0.01, 40))
    ranks = {each.architecture: rank for rank, each in enumerate(reversed(history))}
    strategy = RegularisedEvolution(space, population=20, tournament=5)
    strategy.propose(history, np.random.default_rng(0), 400)
    # The best of 5 of 20 without replacement is of rank r with probability C(19 − r, 4) / C(20, 5),
    # which is 0.25 for the best, and 3 on average.
    found = np.array([ranks[each] for each in space.mutated])
    assert found.max() <= 15
    assert found.mean() == pytest.approx(21 / 6 - 1, abs=0.4)
    assert (found == 0).mean() == pytest.approx(0.25, abs=0.07)
