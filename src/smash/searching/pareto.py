"""Pareto dominance: comparing points by several objectives, in each of which lower is better.

A point *dominates* another if it is nowhere worse and somewhere better. The points that no other
dominates are the Pareto front.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

Points = Sequence[Sequence[float]] | NDArray[np.float64]

_WORST = 1e300  # large and not infinite: the distance between two infinities is undefined


def nondominated_ranks(points: Points) -> NDArray[np.int64]:
    """Computes the non-dominated rank of each point (Deb et al. 2002, III-A).

    Args:
        points: Shape (points, objectives). A value that is not finite is the worst.

    Returns:
        Shape (points,): 0 for the Pareto front, 1 for the front without those points, and so on.
    """
    points_PO = _finite(points)
    if not len(points_PO):
        return np.zeros(0, dtype=np.int64)
    return np.asarray(moocore.pareto_rank(points_PO), dtype=np.int64)


def crowding_distances(points: Points) -> NDArray[np.float64]:
    """Computes the crowding distance of each point in one front (Deb et al. 2002, III-B).

    It is the half perimeter of the box between the neighbours of a point, each objective in units
    of its range over the front.

    Args:
        points: Shape (points, objectives). A value that is not finite is the worst.

    Returns:
        Shape (points,); infinite for the two ends of each objective.
    """
    points_PO = _finite(points)
    distances_P = np.zeros(len(points_PO))
    for column_P in points_PO.T:
        extent = np.ptp(column_P) if len(column_P) else 0.0
        if extent == 0:
            continue  # all points are equal in this objective
        order = np.argsort(column_P, kind="stable")
        distances_P[order[[0, -1]]] = np.inf
        distances_P[order[1:-1]] += (column_P[order[2:]] - column_P[order[:-2]]) / extent
    return distances_P


def nsga2_order(points: Points) -> list[int]:
    """Sorts points as NSGA-II does: by rank, and within a rank by falling crowding distance.

    Args:
        points: Shape (points, objectives).

    Returns:
        Indices of the points, best first; of equals, the earlier one first.
    """
    points_PO = _finite(points)
    ranks_P = nondominated_ranks(points_PO)
    distances_P = np.zeros(len(points_PO))
    for rank in np.unique(ranks_P):
        members = ranks_P == rank
        distances_P[members] = crowding_distances(points_PO[members])
    indices: list[int] = np.lexsort((-distances_P, ranks_P)).tolist()
    return indices


def hypervolume(points: Points, reference: Sequence[float]) -> float:
    """Computes the hypervolume between points and a reference point.

    Args:
        points: Shape (points, objectives).
        reference: A point that is worse than all that count, in the units of the objectives.
    """
    return float(moocore.hypervolume(_finite(points), ref=list(reference)))


def _finite(points: Points) -> NDArray[np.float64]:
    array = np.array(points, dtype=np.float64)
    return np.nan_to_num(array, nan=_WORST, posinf=_WORST, neginf=-_WORST)
