"""Random changes that leave an example what it is, drawn for a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.runtime.device import send


@dataclass(frozen=True)
class Augmentation:
    """A crop from a padded example and a flip of its last axis, each example with its own draw.

    Attributes:
        padding: Zeros added on each side of each spatial axis before the crop; 0 for no crop.
        flip: Whether half of the examples are mirrored.
    """

    padding: int = 0
    flip: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augments a batch.

        Args:
            images: Shape ``(n, channels, *size)``, of any type, on any device.
            generator: Source of randomness, on the CPU: the draws are the same on every device.

        Returns:
            Shape, type and device of `images`.
        """
        if not self.padding and not self.flip:
            return images
        n, channels, *size = images.shape
        shifts = torch.randint(2 * self.padding + 1, (n, len(size)), generator=generator)
        mirrored = torch.randint(2, (n, 1), generator=generator) == 1
        shifts, mirrored = send(shifts, images.device), send(mirrored, images.device)

        # One index into the flattened padded example for each pixel of the result: a single
        # gather then does crop and flip of all examples.
        index = torch.zeros(n, 1, dtype=torch.int64, device=images.device)
        for axis, extent in enumerate(size):
            place = torch.arange(extent, device=images.device).expand(n, -1)
            if self.flip and axis == len(size) - 1:
                place = torch.where(mirrored, place.flip(1), place)
            place = place + shifts[:, axis, None]
            width = extent + 2 * self.padding
            index = (index[:, :, None] * width + place[:, None, :]).flatten(1)
        padded = F.pad(images, [self.padding] * (2 * len(size))).flatten(2)
        return padded.gather(2, index[:, None].expand(-1, channels, -1)).view(images.shape)


_CHUNK = 200_000
"""Numbers worked on at a time: as float64 they stay in a processor's cache."""


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Makes images the input of a network.

    Args:
        images: Shape ``(n, channels, *size)``; uint8 is first scaled to 0…1.
        mean: One number a channel, as `channel_statistics` gives it.
        std: Likewise.

    Returns:
        ``(images - mean) / std``, shape of `images`, float32.
    """
    axes = (-1, *[1] * (images.ndim - 2))
    shift, scale = (_on(images.device, tuple(one)).view(axes) for one in (mean, std))
    return (images.float() / _unit(images) - shift) / scale


@lru_cache(maxsize=64)
def _on(device: torch.device, numbers: tuple[float, ...]) -> Tensor:
    """Numbers on a device; kept, since a GPU would have to wait for them at each batch."""
    return torch.tensor(numbers, dtype=torch.float32, device=device)


def channel_statistics(
    images: Tensor, rows: Tensor | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in the units that `normalise` works in.

    Args:
        images: Shape ``(n, channels, *size)``; looked at in small parts, never copied as a whole.
        rows: Which of them count, shape ``(m,)``, int64; all of them, if None.

    Returns:
        Means and standard deviations; 1 instead of the deviation of a constant channel.
    """
    others = [axis for axis in range(images.ndim) if axis != 1]
    n = len(images) if rows is None else len(rows)
    pixels = images[0, 0].numel()
    step = max(1, _CHUNK // images[0].numel())

    # One buffer for all: to take and give back large pieces of memory between small ones leaves
    # holes in it that add up.
    buffer = torch.empty((step, *images.shape[1:]), dtype=torch.float64)

    def average(change: Callable[[Tensor], Tensor]) -> Tensor:
        sums = torch.empty(-(-n // step), images.shape[1], dtype=torch.float64)
        for number, start in enumerate(range(0, n, step)):
            part = slice(start, start + step)
            chunk = images[part if rows is None else rows[part]]
            sums[number] = change(buffer[: len(chunk)].copy_(chunk)).sum(others)
        return sums.sum(0) / (n * pixels)

    # Two passes, because a mean of squares loses the variance of values far from 0.
    mean = average(lambda chunk: chunk)
    centre = mean.view(-1, *[1] * (images.ndim - 2))
    std = average(lambda chunk: chunk.sub_(centre).square_()).sqrt()
    mean, std = mean / _unit(images), std / _unit(images)
    # Relative, because signals may come in units that make all values tiny.
    constant = std <= 1e-6 * mean.abs()
    return tuple(mean.tolist()), tuple(torch.where(constant, 1.0, std).tolist())


def _unit(images: Tensor) -> int:
    """What counts as 1."""
    return 255 if images.dtype == torch.uint8 else 1
