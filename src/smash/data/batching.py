"""Batches of examples, in an order that can be computed again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from smash.data.base import Split


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """A permutation of ``0…n-1``, shape ``(n,)``, that depends on `seed` and `epoch` alone.

    A resumed run therefore needs no random state to see its examples in the same order.
    """
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(n))


def batches(split: Split, batch_size: int, order: Tensor | None = None) -> Iterator[Split]:
    """Cuts a split into batches; the last one may be smaller.

    Args:
        split: The examples.
        batch_size: Examples a batch.
        order: Indices of the examples to take, shape ``(m,)``; all as they stand, if None.
    """
    for start in range(0, len(split if order is None else order), batch_size):
        batch = slice(start, start + batch_size)
        if order is None:
            yield Split(split.images[batch], split.labels[batch])
        else:
            yield split.subset(order[batch])
