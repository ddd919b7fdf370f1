"""Augmentation and normalisation of whole batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.runtime.device import send

_CHUNK = 200_000  # numbers at a time: as float64 they stay in the processor's cache


@dataclass(frozen=True)
class Augmentation:
    """A random crop of the padded example, and a random flip of its last axis.

    Attributes:
        padding: Zeros added on each side of each spatial axis before the crop; 0 for no crop.
        flip: Whether half of the examples are mirrored.

    Example:
        >>> augment = Augmentation(padding=1, flip=True)
        >>> augment(torch.zeros(2, 3, 8, 8), torch.Generator()).shape
        torch.Size([2, 3, 8, 8])
        >>> augment.describe()
        'random shifts by up to 1 and mirroring'
    """

    padding: int = 0
    flip: bool = False

    def describe(self) -> str:
        """Words the changes; empty if there are none."""
        changes = [f"shifts by up to {self.padding}"] * bool(self.padding)
        changes += ["mirroring"] * self.flip
        return f"random {' and '.join(changes)}" if changes else ""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augments a batch, with independent draws for each example.

        Args:
            images: Shape ``(n, channels, *size)``, of any type and on any device.
            generator: Source of randomness on the CPU, so that all devices get the same draws.

        Returns:
            Shape, type and device of `images`.
        """
        if not self.padding and not self.flip:
            return images
        n, channels, *size = images.shape
        shifts = torch.randint(2 * self.padding + 1, (n, len(size)), generator=generator)
        flipped = torch.randint(2, (n, 1), generator=generator) == 1
        shifts, flipped = send(shifts, images.device), send(flipped, images.device)

        # Each pixel of the result gets its index in the flattened padded example, so that a single
        # gather crops and flips all examples.
        index = torch.zeros(n, 1, dtype=torch.int64, device=images.device)
        for axis, extent in enumerate(size):
            position = torch.arange(extent, device=images.device).expand(n, -1)
            if self.flip and axis == len(size) - 1:
                position = torch.where(flipped, position.flip(1), position)
            position = position + shifts[:, axis, None]
            padded_extent = extent + 2 * self.padding
            index = (index[:, :, None] * padded_extent + position[:, None, :]).flatten(1)
        padded = F.pad(images, [self.padding] * (2 * len(size))).flatten(2)
        return padded.gather(2, index[:, None].expand(-1, channels, -1)).view(images.shape)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Scales images to zero mean and unit variance per channel.

    Args:
        images: Shape ``(n, channels, *size)``; uint8 is first scaled to 0…1.
        mean: Mean of each channel, as from `channel_statistics`.
        std: Standard deviation of each channel.

    Returns:
        ``(images - mean) / std``, of the shape of `images`, float32.

    Example:
        >>> normalise(torch.tensor([[[0, 255]]], dtype=torch.uint8), [0.5], [0.5]).tolist()
        [[[-1.0, 1.0]]]
    """
    axes = (-1, *[1] * (images.ndim - 2))
    shift, scale = (_tensor(images.device, tuple(each)).view(axes) for each in (mean, std))
    return (images.float() / _unit(images) - shift) / scale


@lru_cache(maxsize=64)
def _tensor(device: torch.device, numbers: tuple[float, ...]) -> Tensor:
    """Makes a tensor of numbers once, because making one for each batch would stall a GPU."""
    return torch.tensor(numbers, dtype=torch.float32, device=device)


def channel_statistics(
    images: Tensor, rows: Tensor | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Computes mean and standard deviation of each channel, for `normalise`.

    Args:
        images: Shape ``(n, channels, *size)``; read in small chunks, never copied as a whole.
        rows: The rows that count, shape ``(m,)``, int64; None for all.

    Returns:
        Means and standard deviations, with 1 for the deviation of a constant channel; uint8 counts
        as 0…1.
    """
    others = [axis for axis in range(images.ndim) if axis != 1]
    n = len(images) if rows is None else len(rows)
    pixels = images[0, 0].numel()
    step = max(1, _CHUNK // images[0].numel())

    # A single buffer, because large allocations between small ones would fragment the heap.
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
    # The threshold is relative, because the unit of a signal may make all its values tiny.
    constant = std <= 1e-6 * mean.abs()
    return tuple(mean.tolist()), tuple(torch.where(constant, 1.0, std).tolist())


def _unit(images: Tensor) -> int:
    return 255 if images.dtype == torch.uint8 else 1
