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
    """A permutation of ``0…n-1``, shape ``(n,)``, that depends on `seed` and `epoch` alone.

    A resumed run therefore needs no random state to see its examples in the same order. It is kept
    for all steps of the epoch, and is not to be changed.
    """
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(n)).to(device)


def training_batch(split: Split, indices: Tensor, seed: int, step: int) -> Split:
    """Takes examples to learn from, each in a view drawn at random.

    Args:
        split: The examples, with one or more views each.
        indices: Which examples, shape ``(m,)``, int64.
        seed: Seed of the run.
        step: Number of the batch: the views depend on `seed` and `step` alone.
    """
    if split.views == 1:
        return split.subset(indices)
    rng = torch_generator(seed, "views", step)
    return split.subset_of_views(indices, torch.randint(split.views, indices.shape, generator=rng))


def batches(split: Split, batch_size: int, order: Tensor | None = None) -> Iterator[Split]:
    """Cuts a split into batches; the last one may be smaller.

    Args:
        split: The examples; a batch has all views of its own.
        batch_size: Examples a batch.
        order: Indices of the examples to take, shape ``(m,)``; all as they stand, if None.
    """
    for start in range(0, len(split if order is None else order), batch_size):
        batch = slice(start, start + batch_size)
        yield split.subset(batch if order is None else order[batch])


def class_weights(data: Data) -> Tensor:
    """Weighs each class by the inverse of its frequency in the training split.

    The weight of class c is ``n / (k · n_c)``, with n examples, n_c of them of class c, and k
    classes. So all classes weigh the same together, and the mean weight of an example is 1: a
    learning rate means what it means without weights.

    Returns:
        Shape ``(k,)``, float32, on the device of the labels.
    """
    labels = data.train.labels
    counts = torch.bincount(labels, minlength=len(data.classes))
    return (len(labels) / (len(data.classes) * counts.double())).float()
