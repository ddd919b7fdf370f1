"""Pareto fronts, against brute force and answers worked out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from smash.searching import pareto


def dominates(first, second):
    return all(a <= b for a, b in zip(first, second, strict=True)) and tuple(first) != tuple(second)


def peel(points):
    """Ranks points by peeling off one front after the other."""
    left, found, number = set(range(len(points))), {}, 0
    while left:
        front = {
            one for one in left if not any(dominates(points[other], points[one]) for other in left)
        }
        found |= dict.fromkeys(front, number)
        left -= front
        number += 1
    return [found[index] for index in range(len(points))]


@pytest.mark.parametrize("objectives", [2, 3, 4])
@pytest.mark.parametrize("levels", [3, 1000])
def test_nondominated_ranks_are_those_of_brute_force(objectives, levels):
    for seed in range(5):
        rng = np.random.default_rng([objectives, levels, seed])
        points = rng.integers(levels, size=(60, objectives)).astype(float)  # with ties
        assert pareto.nondominated_ranks(points).tolist() == peel(points.tolist()), f"seed {seed}"


def test_crowding_distances_are_those_of_the_paper():
    # Ranges 4 and 8. Of the point at (1, 6): (3 − 0) / 4 + (8 − 1) / 8; of that at (3, 1):
    # (4 − 1) / 4 + (6 − 0) / 8.
    points = [(3, 1), (0, 8), (4, 0), (1, 6)]
    assert pareto.crowding_distances(points).tolist() == [1.5, math.inf, math.inf, 1.625]


def test_crowding_distances_ignore_an_objective_in_which_all_are_equal():
    assert pareto.crowding_distances([(5, 2), (5, 2)]).tolist() == [0, 0]
    assert pareto.crowding_distances([(5, 0), (5, 1), (5, 4)]).tolist() == [math.inf, 1, math.inf]


def test_order_is_by_rank_and_then_by_crowding_distance():
    front = [(0, 8), (1, 6), (3, 1), (4, 0)]
    second = [(9, 9)]
    points = [second[0], front[2], front[1], front[0], front[3]]
    assert pareto.nsga2_order(points) == [3, 4, 2, 1, 0]
    assert pareto.nsga2_order([]) == []


def test_hypervolume_is_that_of_the_union_of_boxes():
    rng = np.random.default_rng(0)
    points = rng.integers(8, size=(6, 3))
    # By hand: count the unit cells that some point's box up to (8, 8, 8) covers.
    cells = sum(
        any(all(p <= c for p, c in zip(point, cell, strict=True)) for point in points)
        for cell in itertools.product(range(8), repeat=3)
    )
    assert pareto.hypervolume(points, (8, 8, 8)) == cells


def test_values_that_are_not_finite_are_the_worst():
    points = [(math.nan, 1.0), (0.5, 2.0), (math.inf, 3.0), (0.1, 2.5)]
    assert pareto.nondominated_ranks(points).tolist() == [0, 0, 1, 0]
    assert pareto.nsga2_order(points)[-1] == 2
    assert pareto.hypervolume(points, (1, 4)) == pytest.approx(0.5 * 2 + 0.4 * 1.5)
