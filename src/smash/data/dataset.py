"""What data is: examples in three splits, and what a source hands over before they are cut.

A size in a name of a shape is one number a spatial axis: ``(n, channels, *size)`` is N×C×L for
signals, N×C×H×W for images, N×C×D×H×W for volumes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from smash.config import DataSettings
from smash.data.transforms import Augmentation, normalise
from smash.runtime.device import place, send
from smash.spaces.task import Task

MIN_SIDE = 4
"""The shortest spatial axis, in pixels, that a network can downsample."""


@dataclass(frozen=True, eq=False)
class Split:
    """Examples and their labels.

    Splits may share one tensor of images, which may be a file that is larger than the memory: each
    then knows which rows of it are its own, and nothing is copied but what is asked for.

    An example may come in several views, such as a volume in several rotations. Training draws one
    of them, validation and scores look at the first, and `smash.evaluation.evaluate` averages over
    all of them. A split never has some of an example's views without the others.

    Attributes:
        stored: Images, shape ``(m, channels, *size)``, the views of an example one after another;
            uint8 in 0…255, or float32 as given. On the device of the labels, or in main memory.
        labels: Shape ``(n,)``, int64: indices into the classes. On the device that batches go to.
        views: Views of an example.
        rows: Shape ``(n · views,)``, int64: which of `stored` are images of this split, on their
            device; all of them in their order, if None.
    """

    stored: Tensor
    labels: Tensor
    views: int = 1
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Tensor:
        """All images, shape ``(n · views, channels, *size)``: a copy where they are shared."""
        return self._images(slice(None))

    @property
    def first_views(self) -> Split:
        """The first view of each example; nothing is copied."""
        if self.rows is None:
            return Split(self.stored[:: self.views], self.labels)
        return Split(self.stored, self.labels, rows=self.rows[:: self.views])

    def to(self, device: torch.device | str) -> Split:
        """The same examples on another device."""
        return self.on(device, self.stored.to(device))

    def on(self, device: torch.device | str, stored: Tensor) -> Split:
        """The same examples for batches on `device`, from where their images are `stored` now."""
        rows = None if self.rows is None else self.rows.to(stored.device)
        return Split(stored, self.labels.to(device), self.views, rows)

    def part(self, indices: Tensor) -> Split:
        """The examples at `indices`, shape ``(m,)``, int64; their images are shared, not copied."""
        rows = self._rows(indices.to(self.stored.device))
        return Split(self.stored, self.labels[indices.to(self.labels.device)], self.views, rows)

    def subset(self, indices: Tensor | slice) -> Split:
        """A copy of the examples at `indices`, shape ``(m,)``, in that order, with all views."""
        if isinstance(indices, slice):
            start, stop, _ = indices.indices(len(self))
            images = self._images(slice(start * self.views, stop * self.views))
            return Split(images, self.labels[start:stop], self.views)
        images = self._images(self._views(send(indices, self.stored.device)))
        return Split(images, self.labels[send(indices, self.labels.device)], self.views)

    def subset_of_views(self, indices: Tensor, views: Tensor) -> Split:
        """One view each of the examples at `indices`; both of shape ``(m,)``, int64."""
        device = self.stored.device
        images = self._images(send(indices, device) * self.views + send(views, device))
        return Split(images, self.labels[send(indices, self.labels.device)])

    def _views(self, indices: Tensor) -> Tensor:
        """The numbers of all images of examples, counted within the split."""
        if self.views == 1:
            return indices
        views = torch.arange(self.views, device=indices.device)
        return (indices[:, None] * self.views + views).flatten()

    def _rows(self, indices: Tensor) -> Tensor:
        images = self._views(indices)
        return images if self.rows is None else self.rows[images]

    def _images(self, which: Tensor | slice) -> Tensor:
        rows = which if self.rows is None else self.rows[which]
        return send(self.stored[rows], self.labels.device)


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """A data set, ready to learn from.

    Attributes:
        name: The registered name, or the path as given.
        train: Examples to learn from.
        val: Examples to rank by.
        test: Examples for the last word; nothing is ever chosen by them.
        classes: Names of the classes, in the order of the labels.
        mean: Mean of each channel over the training split; of uint8 images as numbers in 0…1.
        std: Standard deviation likewise; 1 where a channel is constant.
        augmentation: Random changes that suit these examples.
        notes: What was decided while loading, one sentence each.
        settings: How the data was loaded, to find it again; its fingerprint is the same for the
            same examples in the same splits, in every process.
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

    @property
    def task(self) -> Task:
        """What a child network for this data is for."""
        channels, *size = self.train.stored.shape[1:]
        return Task(channels=channels, size=tuple(size), classes=len(self.classes))

    def normalise(self, images: Tensor) -> Tensor:
        """Gives float32 images of zero mean and unit variance a channel, as children take them."""
        return normalise(images, self.mean, self.std)

    def to(self, device: torch.device | str) -> Data:
        """The same data for work on another device.

        Images go there where they fit (`smash.runtime.device`); otherwise they stay where they are,
        and each batch goes there when it is taken.
        """
        splits = (self.train, self.val, self.test)
        stored = place([split.stored for split in splits], torch.device(device))
        train, val, test = (
            split.on(device, images) for split, images in zip(splits, stored, strict=True)
        )
        return replace(self, train=train, val=val, test=test)


class Facts(Protocol):
    """Keeps what was worked out about examples, for as long as they stay the same."""

    def recall(self, name: str) -> Any:
        """What is kept under a name, or None."""

    def remember(self, name: str, fact: Any) -> None:
        """Keeps plain JSON under a name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What a source of data holds, before the splits that it lacks are cut from `train`.

    Attributes:
        classes: Names of the classes, in the order of the labels.
        train: Examples; all there are, if there is no other split.
        val: Examples, or None.
        test: Examples, or None.
        flip: Whether a mirrored example is still one of its class.
        augmented: Whether examples are augmented unless the user says otherwise.
        notes: What was decided while reading, one sentence each.
        facts: Where facts about the examples are kept, or None.
    """

    classes: tuple[str, ...]
    train: Split
    val: Split | None = None
    test: Split | None = None
    flip: bool
    augmented: bool
    notes: tuple[str, ...] = ()
    facts: Facts | None = None
