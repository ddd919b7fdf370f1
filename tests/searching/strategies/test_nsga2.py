from __future__ import annotations

import numpy as np
import pytest

from smash.errors import InvalidValueError
from smash.searching.strategies import Nsga2
from smash.spaces import NasBench201Space
from tests.searching.strategies.histories import make_history
from tests.searching.strategies.test_evolution import RecordingSpace

SPACE = NasBench201Space()


def history_of(points):
    """Candidates with the given losses and parameters."""
    history = make_history(SPACE, [loss for loss, _ in points])
    for candidate, (_, params) in zip(history, points, strict=True):
        candidate.params = params
    return history


def test_parents_are_the_front_and_then_the_least_crowded_of_the_next():
    points = [(5, 5), (0, 4), (4, 0), (1, 1), (6, 1), (2, 4), (1, 6), (2.2, 3)]
    parents = Nsga2(SPACE, ["loss", "params"], population=5).parents(history_of(points))
    assert {(each.loss, each.params) for each in parents[:3]} == {(0, 4), (4, 0), (1, 1)}
    assert {(each.loss, each.params) for each in parents[3:]} == {(6, 1), (1, 6)}


def test_propose_mutates_the_better_of_two_parents():
    space = RecordingSpace()
    history = history_of([(number, number) for number in range(30)])
    Nsga2(space, ["loss", "params"], population=10).propose(history, np.random.default_rng(0), 400)
    ranks = {each.architecture: each.loss for each in history}
    found = np.array([ranks[each] for each in space.mutated])
    # The lower of two different numbers of 0…9 is 0 with probability 0.2, and 8 / 3 on average.
    assert found.max() <= 8
    assert found.mean() == pytest.approx(8 / 3, abs=0.4)
    assert (found == 0).mean() == pytest.approx(0.2, abs=0.07)


def test_propose_without_a_measured_cost_raises():
    with pytest.raises(InvalidValueError, match="latency of candidate random-0 was not measured"):
        Nsga2(SPACE, ["loss", "latency"]).propose(
            make_history(SPACE, [0.1]), np.random.default_rng(0), 1
        )
