"""Batches of examples, in an order that can be computed again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from smash.data.dataset import Data, Split
from smash.runtime.rng import torch_generator

_CPU = torch.device("cpu")


@lru_cache(maxsize=2)
def epoch_order(n: int, seed: int, epoch: int, device: torch.device = _CPU) -> Tensor:
    """Draws the order of the examples in an epoch.

    It depends on its arguments alone, so a resumed run needs no random state to continue in the
    same order. All steps of an epoch share the tensor, which must not be changed.

    Returns:
        A permutation of ``0…n-1``, shape ``(n,)``, int64.

    Example:
        >>> epoch_order(4, seed=0, epoch=1).tolist()
        [3, 0, 2, 1]
    """
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(n)).to(device)


def training_batch(split: Split, indices: Tensor, seed: int, step: int) -> Split:
    """Takes a batch of examples to train on, each in a view drawn at random.

    Args:
        split: The examples, with one or more views each.
        indices: The examples to take, shape ``(m,)``, int64.
        seed: Seed of the run.
        step: Number of the batch; the views depend on `seed` and `step` alone.
    """
    if split.views == 1:
        return split.subset(indices)
    rng = torch_generator(seed, "views", step)
    return split.subset_of_views(indices, torch.randint(split.views, indices.shape, generator=rng))


def batches(split: Split, batch_size: int, order: Tensor | None = None) -> Iterator[Split]:
    """Yields a split in batches; the last one may be smaller.

    Args:
        split: The examples; a batch contains all their views.
        batch_size: Examples per batch.
        order: Indices of the examples to take, shape ``(m,)``; None for all in their order.
    """
    for start in range(0, len(split if order is None else order), batch_size):
        batch = slice(start, start + batch_size)
        yield split.subset(batch if order is None else order[batch])


def class_weights(data: Data) -> Tensor:
    """Computes the weight of each class in the loss, the inverse of its frequency.

    The weight of class c is ``n / (k · n_c)`` for n training examples, n_c of them of class c, and
    k classes. All classes then weigh the same in total, and the mean weight of an example is 1, so
    that learning rates keep their meaning.

    Returns:
        Shape ``(k,)``, float32, on the device of the labels.

    Example:
        >>> import smash
        >>> class_weights(smash.load_data("digits")).shape
        torch.Size([10])
    """
    labels = data.train.labels
    counts = torch.bincount(labels, minlength=len(data.classes))
    return (len(labels) / (len(data.classes) * counts.double())).float()
