"""Data sets: examples in three splits, and what a source provides before the splits are cut.

In the shapes below, `size` stands for one number per spatial axis: ``(n, channels, *size)`` is
N×C×L for signals, N×C×H×W for images, and N×C×D×H×W for volumes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from smash.config import DataSettings
from smash.data.sound_format import SoundFormat
from smash.data.transforms import Augmentation, normalise
from smash.runtime.device import place, send
from smash.spaces.layers import channels_last
from smash.spaces.task import Task

MIN_SIDE = 4
"""The shortest spatial axis that a network can downsample, in pixels."""


@dataclass(frozen=True, eq=False)
class Split:
    """Examples and their labels.

    Several splits may share one tensor of images, which may be a memory-mapped file larger than
    main memory. Each split knows its rows, and copies only the examples that are asked for.

    An example may have several views, such as a volume in several rotations. Training draws one of
    them, validation and scores use the first, and `smash.evaluation.evaluate` averages over all.
    All views of an example are in the same split.

    Attributes:
        stored: Images, shape ``(m, channels, *size)``, all views of an example in succession; uint8
            in 0…255, or float32. On the device of the labels, or in main memory.
        labels: Shape ``(n,)``, int64: indices into the classes. On the device of the batches.
        views: Number of views per example.
        rows: Shape ``(n · views,)``, int64: the rows of `stored` that belong to this split, on the
            device of `stored`; None for all of them.
        groups: Shape ``(n,)``, int64, in main memory: examples of the same group, such as all
            recordings of one speaker, never end up in two splits. None if no groups are known.

    Example:
        >>> split = Split(torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 1]))
        >>> len(split), split.subset(torch.tensor([2, 0])).labels.tolist()
        (3, [1, 0])
    """

    stored: Tensor
    labels: Tensor
    views: int = 1
    rows: Tensor | None = None
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Tensor:
        """All images, shape ``(n · views, channels, *size)``; a copy where they are shared."""
        return self._images(slice(None))

    @property
    def first_views(self) -> Split:
        """The first view of each example, without a copy."""
        if self.rows is None:
            return replace(self, stored=self.stored[:: self.views], views=1)
        return replace(self, rows=self.rows[:: self.views], views=1)

    def to(self, device: torch.device | str) -> Split:
        """Moves the examples to another device."""
        return self.on(device, self.stored.to(device))

    def on(self, device: torch.device | str, stored: Tensor) -> Split:
        """Makes batches on `device`, from images that are stored in `stored` now."""
        rows = None if self.rows is None else self.rows.to(stored.device)
        return replace(self, stored=stored, labels=self.labels.to(device), rows=rows)

    def part(self, indices: Tensor) -> Split:
        """Selects the examples at `indices`, shape ``(m,)``, int64, without copying images."""
        rows = self._views_of(indices.to(self.stored.device))
        return Split(
            self.stored,
            self.labels[indices.to(self.labels.device)],
            self.views,
            rows if self.rows is None else self.rows[rows],
            None if self.groups is None else self.groups[indices.cpu()],
        )

    def subset(self, indices: Tensor | slice) -> Split:
        """Copies the examples at `indices`, shape ``(m,)``, in that order and with all views."""
        if isinstance(indices, slice):
            start, stop, _ = indices.indices(len(self))
            images = self._images(slice(start * self.views, stop * self.views))
            return Split(images, self.labels[start:stop], self.views)
        images = self._images(self._views_of(send(indices, self.stored.device)))
        return Split(images, self.labels[send(indices, self.labels.device)], self.views)

    def subset_of_views(self, indices: Tensor, views: Tensor) -> Split:
        """Copies one view of each example at `indices`; both of shape ``(m,)``, int64."""
        device = self.stored.device
        images = self._images(send(indices, device) * self.views + send(views, device))
        return Split(images, self.labels[send(indices, self.labels.device)])

    def _views_of(self, indices: Tensor) -> Tensor:
        """Gives the positions of all images of examples, counted within the split."""
        if self.views == 1:
            return indices
        views = torch.arange(self.views, device=indices.device)
        return (indices[:, None] * self.views + views).flatten()

    def _images(self, positions: Tensor | slice) -> Tensor:
        rows = positions if self.rows is None else self.rows[positions]
        return send(self.stored[rows], self.labels.device)


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """A data set, ready to learn from.

    Attributes:
        name: The registered name, or the path.
        train: Examples to learn from.
        val: Examples to rank and choose by.
        test: Examples for the final error; nothing is chosen by them.
        classes: Names of the classes, in the order of the labels.
        mean: Mean of each channel over the training split; uint8 images count as 0…1.
        std: Standard deviation likewise; 1 where a channel is constant.
        augmentation: Random changes that suit the examples.
        notes: Decisions made while loading, one sentence each.
        settings: How the data was loaded, and its fingerprint, which is the same in every process
            for the same examples in the same splits.
        sound: The form of recordings as inputs; None if the examples are no recordings.
        white: Value of a pixel of 16-bit images that became 255.

    Example:
        >>> import smash
        >>> data = smash.load_data("digits")
        >>> data.task
        Task(channels=1, size=(8, 8), classes=10)
        >>> len(data.train), len(data.val), len(data.test)
        (1375, 153, 269)
    """

    name: str
    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation
    notes: tuple[str, ...]
    settings: DataSettings
    sound: SoundFormat | None = None
    white: int = 0xFFFF

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name: ``train``, ``val`` and ``test``."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def nbytes(self) -> int:
        """The bytes of all examples; splits may share theirs."""
        stored = {id(split.stored): split.stored for split in self.splits.values()}
        return sum(examples.nbytes for examples in stored.values())

    @property
    def task(self) -> Task:
        """The task that a child network for this data solves."""
        channels, *size = self.train.stored.shape[1:]
        return Task(channels=channels, size=tuple(size), classes=len(self.classes))

    def normalise(self, images: Tensor) -> Tensor:
        """Scales images to zero mean and unit variance per channel, the input of a child.

        They are channels-last in memory, which lets a training step of inverted residuals take 0.63
        and one of ResNets 0.75 of the time on a CPU.
        """
        return channels_last(normalise(images, self.mean, self.std))

    def to(self, device: torch.device | str) -> Data:
        """Prepares the data for work on another device.

        The images move there if they fit (`smash.runtime.device.place`); otherwise each batch does
        when it is taken.
        """
        stored = place([split.stored for split in self.splits.values()], torch.device(device))
        moved = {
            name: split.on(device, images)
            for (name, split), images in zip(self.splits.items(), stored, strict=True)
        }
        return replace(self, **moved)  # type: ignore[arg-type]


class Facts(Protocol):
    """Keeps facts that were computed from examples, for as long as these do not change."""

    def recall(self, name: str) -> Any:
        """Returns the fact under a name, or None."""

    def remember(self, name: str, fact: Any) -> None:
        """Keeps a fact, as plain JSON, under a name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """The content of a source of data, before the missing splits are cut from ``train``.

    Attributes:
        classes: Names of the classes, in the order of the labels.
        splits: Examples by split: ``train``, and ``val`` and ``test`` where the source has them.
        flip: Whether a mirrored example belongs to the same class.
        augmented: Whether examples are augmented by default.
        notes: Decisions made while reading, one sentence each.
        facts: Keeps facts about the examples, or None.
        sound: The form of recordings as inputs, or None.
        white: Value of a pixel of 16-bit images that became 255.

    Example:
        >>> images, labels = torch.zeros(8, 1, 8, 8), torch.arange(8) % 2
        >>> source = Source(classes=("a", "b"), splits={"train": Split(images, labels)})
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    flip: bool = False
    augmented: bool = False
    notes: tuple[str, ...] = ()
    facts: Facts | None = None
    sound: SoundFormat | None = None
    white: int = 0xFFFF
