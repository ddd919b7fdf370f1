"""The classification task that a child network is built for."""

from __future__ import annotations

from dataclasses import dataclass

MOST_READABLE = 2**20
"""The largest value that a readable feature of an architecture may have."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Shape of the inputs and number of classes.

    Attributes:
        channels: Channels of an input.
        size: Spatial extent of an input, one number per axis: ``(32, 32)`` for CIFAR.
        classes: Number of classes.

    Example:
        >>> Task(channels=3, size=(32, 32), classes=10).dims
        2
    """

    channels: int
    size: tuple[int, ...]
    classes: int

    @property
    def dims(self) -> int:
        """Number of spatial axes of an input: 1, 2 or 3."""
        return len(self.size)
