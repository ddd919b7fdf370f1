"""rank_aggregation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]

Ints = NDArray[np.int64]


def order_of(values: ArrayLike) -> Ints:
    """Places of values from the worst, 0, on; equal ones share a place; not finite is the worst.

    Args:
        values: Shape ``(n,)``, higher is better.
    """
    found = np.asarray(values, dtype=np.float64)
    finite = np.where(np.isfinite(found), found, -np.inf)
    return np.unique(finite, return_inverse=True)[1].astype(np.int64)


def log_ranks(parts: Sequence[ArrayLike], weights: Sequence[float] | None = None) -> Floats:
    """Joins several scores: Σ weight · log(rank / n), ranks from the worst, 1, to the best, n.

    It is highest for what is good by all scores at once (Lee and Ham 2024, AZ-NAS).

    Args:
        parts: Scores, each of shape ``(n,)``, higher is better; equal ones share a mean rank.
        weights: How much each counts; by default 1.

    Returns:
        Shape ``(n,)``, at most 0.
    """
    ranks_Pn = np.stack([stats.rankdata(order_of(part)) for part in parts])
    weights_P = np.asarray([1.0] * len(parts) if weights is None else weights)
    # Not as a product of matrices, by which equals may differ in their last bit.
    joined: Floats = (weights_P[:, None] * np.log(ranks_Pn / ranks_Pn.shape[1])).sum(0)
    return joined
