"""Comparing candidates by several objectives at once; less is better in each.

A point *dominates* another if it is nowhere worse and somewhere better. The points that none
dominates are the Pareto front: the choices that are left once the objectives are named.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

Values = Sequence[Sequence[float]] | NDArray[np.float64]

_WORST = 1e300  # a large number and not infinity: between two of those there is no distance


def fronts(values: Values) -> NDArray[np.int64]:
    """Sorts points into fronts: 0 is the Pareto front, 1 what would be it without that, and so on.

    Args:
        values: Points×objectives. A number that is not finite is the worst.

    Returns:
        Shape (points,). Equal points share a front.
    """
    points = _finite(values)
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    return np.asarray(moocore.pareto_rank(points), dtype=np.int64)


def crowding(values: Values) -> NDArray[np.float64]:
    """How alone each point of one front is: the perimeter of the box between its neighbours.

    (Deb, Pratap, Agarwal and Meyarivan 2002, section III-B.) Each objective counts in units of its
    range over the front.

    Args:
        values: Points×objectives. A number that is not finite is the worst.

    Returns:
        Shape (points,); infinite for the two ends of each objective.
    """
    points = _finite(values)
    distances = np.zeros(len(points))
    for column in points.T:
        extent = np.ptp(column) if len(column) else 0.0
        if extent == 0:
            continue  # an objective in which all are equal tells none apart
        order = np.argsort(column, kind="stable")
        distances[order[[0, -1]]] = np.inf
        distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / extent
    return distances


def order(values: Values) -> list[int]:
    """Ranks points as NSGA-II does: by front, and within a front the loneliest first.

    Args:
        values: Points×objectives.

    Returns:
        Indices of the points, best first; of equals, the earlier one first.
    """
    points = _finite(values)
    of_point = fronts(points)
    alone = np.zeros(len(points))
    for front in np.unique(of_point):
        members = of_point == front
        alone[members] = crowding(points[members])
    return np.lexsort((-alone, of_point)).tolist()  # type: ignore[no-any-return]


def hypervolume(values: Values, reference: Sequence[float]) -> float:
    """How much of the space is dominated: the volume between the points and a reference point.

    Args:
        values: Points×objectives.
        reference: A point that is worse than all that count, in the objectives' units.
    """
    return float(moocore.hypervolume(_finite(values), ref=list(reference)))


def _finite(values: Values) -> NDArray[np.float64]:
    points = np.array(values, dtype=np.float64)
    return np.nan_to_num(points, nan=_WORST, posinf=_WORST, neginf=-_WORST)
