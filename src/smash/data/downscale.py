"""Downscaling, so that a SMASH network learns and ranks faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.data.batches import batches
from smash.data.dataset import Data, Split

_BATCH = 1000  # examples; the split as a whole may be larger than main memory
_POOLS: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


def shrink(data: Data, side: int | None) -> Data:
    """Downscales by average pooling until no spatial axis is longer than `side`.

    Args:
        data: Examples of any size.
        side: Length of the longest axis, in pixels; None leaves the data as it is.

    Returns:
        The same examples in the same splits, with the padding of augmentation scaled likewise.

    Example:
        >>> import smash
        >>> shrink(smash.load_data("digits"), 4).task.size
        (4, 4)
    """
    size = data.task.size
    if side is None or max(size) <= side:
        return data
    smaller = tuple(min(extent, side) for extent in size)
    padding = data.augmentation.padding * side // max(size)
    splits = {name: _shrink(split, smaller) for name, split in data.splits.items()}
    return replace(data, augmentation=replace(data.augmentation, padding=padding), **splits)  # type: ignore[arg-type]


def _shrink(split: Split, size: tuple[int, ...]) -> Split:
    parts = [_pool(batch.images, size) for batch in batches(split, _BATCH)]
    return replace(split, stored=torch.cat(parts), rows=None)


def _pool(images: Tensor, size: tuple[int, ...]) -> Tensor:
    pooled = _POOLS[len(size)](images.float(), size)
    return pooled if images.is_floating_point() else pooled.round().to(images.dtype)
