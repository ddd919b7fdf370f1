from __future__ import annotations

import numpy as np
import pytest

from smash.errors import InvalidValueError
from smash.searching.strategies import Nsga2, RegularisedEvolution, Scored
from smash.spaces import NasBench201Space

SPACE = NasBench201Space()


class _Recording(NasBench201Space):
    """Tells who was changed."""

    def __init__(self):
        super().__init__()
        self.changed = []

    def mutate(self, architecture, rng, rate=0.05):
        self.changed.append(architecture)
        return super().mutate(architecture, rng, rate)


def scored(values, strategy="random", seed=0):
    rng = np.random.default_rng(seed)
    return [Scored(SPACE.sample(rng), value, strategy) for value in values]


def test_the_oldest_die_and_the_worst_founders_first():
    founders = scored([0.3, 0.1, 0.2, 0.4])
    children = scored([0.9, 0.8], "evolution", seed=1)
    # A chain that ran in between founds as well.
    other = scored([0.15], "markov", seed=2)
    strategy = RegularisedEvolution(SPACE, population=4)
    living = strategy.living([*founders, children[0], *other, children[1]])
    assert [one.value for one in living] == [0.15, 0.1, 0.9, 0.8]
    assert len(RegularisedEvolution(SPACE).living(founders)) == 4


def test_age_is_by_birth_and_not_by_when_a_score_came():
    children = [
        Scored(one.architecture, one.value, "evolution", index=index)
        for one, index in zip(scored([0.3, 0.1, 0.2]), (2, 0, 1), strict=True)
    ]
    living = RegularisedEvolution(SPACE, population=2).living(children)
    assert [one.index for one in living] == [1, 2]


def test_the_best_of_a_tournament_is_changed():
    space = _Recording()
    history = scored(np.linspace(1, 0.01, 40))
    ranks = {one.architecture: rank for rank, one in enumerate(reversed(history))}
    strategy = RegularisedEvolution(space, population=20, tournament=5)
    for number in range(400):
        strategy.propose(history, np.random.default_rng(number))
    # The best of 5 of 20 without replacement is of rank r with probability C(19 − r, 4) / C(20, 5),
    # which is 0.25 for the best, and 3 on average.
    found = np.array([ranks[one] for one in space.changed])
    assert found.max() <= 15
    assert found.mean() == pytest.approx(21 / 6 - 1, abs=0.4)
    assert (found == 0).mean() == pytest.approx(0.25, abs=0.07)


def test_parents_are_the_front_and_then_the_loneliest_of_the_next():
    rng = np.random.default_rng(0)
    points = [(5, 5), (0, 4), (4, 0), (1, 1), (6, 1), (2, 4), (1, 6), (2.2, 3.9)]
    history = [Scored(SPACE.sample(rng), p[0], "random", objectives=p) for p in points]
    parents = Nsga2(SPACE, population=5).parents(history)
    assert {one.objectives for one in parents[:3]} == {(0, 4), (4, 0), (1, 1)}
    assert {one.objectives for one in parents[3:]} == {(6, 1), (1, 6)}


def test_the_better_of_two_is_changed():
    space = _Recording()
    rng = np.random.default_rng(0)
    history = [Scored(SPACE.sample(rng), i, "random", objectives=(i, i)) for i in range(30)]
    strategy = Nsga2(space, population=10)
    for number in range(400):
        strategy.propose(history, np.random.default_rng(number))
    ranks = {one.architecture: one.value for one in history}
    found = np.array([ranks[one] for one in space.changed])
    # The lower of two different numbers of 0…9 is 0 with probability 0.2, and 8 / 3 on average.
    assert found.max() <= 8
    assert found.mean() == pytest.approx(8 / 3, abs=0.4)
    assert (found == 0).mean() == pytest.approx(0.2, abs=0.07)


def test_one_objective_is_too_few():
    with pytest.raises(InvalidValueError, match="two objectives or more"):
        Nsga2(SPACE).propose(scored([0.1]), np.random.default_rng(0))
