"""Rank aggregation: joining several scores by the ranks that they give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def dense_ranks(values: ArrayLike) -> Ints:
    """Ranks values densely from 0, the worst; equal ones share a rank, and non-finite is worst.

    Args:
        values: Shape (n,), higher is better.

    Returns:
        Shape (n,).
    """
    array = np.asarray(values, dtype=np.float64)
    finite = np.where(np.isfinite(array), array, -np.inf)
    return np.unique(finite, return_inverse=True)[1].astype(np.int64)


def relative_ranks(values: ArrayLike) -> Floats:
    """Ranks values from 1 / (n + 1), the worst, to n / (n + 1); equal ones share a mean rank.

    Args:
        values: Shape (n,), higher is better.

    Returns:
        Shape (n,).
    """
    # Written out, because importing SciPy's takes longer than showing a run.
    dense = dense_ranks(values)
    counts = np.bincount(dense)
    mean_ranks: Floats = np.cumsum(counts) - (counts - 1) / 2
    return mean_ranks[dense] / (len(dense) + 1)


def log_ranks(parts: Sequence[ArrayLike], weights: Sequence[float] | None = None) -> Floats:
    """Joins several scores by Σ weight · log rank (Lee and Ham 2024, AZ-NAS).

    Ranks are relative, so the sum is highest for what is good by all scores at once.

    Args:
        parts: Scores, each of shape (n,), higher is better.
        weights: Weight of each score; 1 by default.

    Returns:
        Shape (n,), below 0.
    """
    ranks_Pn = np.stack([relative_ranks(part) for part in parts])
    weights_P = np.asarray([1.0] * len(parts) if weights is None else weights)
    # Not a matrix product, in which equal columns may differ in their last bit.
    joined: Floats = (weights_P[:, None] * np.log(ranks_Pn)).sum(0)
    return joined
