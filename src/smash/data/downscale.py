"""The same examples at a smaller size, at which a SMASH network learns and ranks faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.data.dataset import Data, Split

_AT_ONCE = 1000  # examples: of a data set that is larger than the memory, too
_POOLS: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


def shrink(data: Data, side: int | None) -> Data:
    """Averages neighbours until no spatial axis is longer than `side`.

    Args:
        data: Examples of any size.
        side: The longest axis; None leaves the data as it is.

    Returns:
        The same examples in the same splits. What augmentation shifts by shrinks alike.
    """
    size = data.task.size
    if side is None or max(size) <= side:
        return data
    smaller = tuple(min(extent, side) for extent in size)
    augmentation = replace(data.augmentation, padding=data.augmentation.padding * side // max(size))
    return replace(
        data,
        train=_shrink(data.train, smaller),
        val=_shrink(data.val, smaller),
        test=_shrink(data.test, smaller),
        augmentation=augmentation,
    )


def _shrink(split: Split, size: tuple[int, ...]) -> Split:
    parts = [
        _average(split.subset(slice(start, start + _AT_ONCE)).images, size)
        for start in range(0, len(split), _AT_ONCE)
    ]
    return Split(torch.cat(parts), split.labels, split.views)


def _average(images: Tensor, size: tuple[int, ...]) -> Tensor:
    averaged = _POOLS[len(size)](images.float(), size)
    return averaged if images.is_floating_point() else averaged.round().to(images.dtype)
