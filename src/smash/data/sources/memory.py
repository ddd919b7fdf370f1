"""Data that the program already holds: arrays, and torch data sets.

Arrays are a pair ``(data, labels)``, or a mapping with the keys of `smash.data.sources.arrays`. A
torch data set is map-style, and each item is a pair of an image (a PIL image, an array or a tensor)
and a label. A mapping ``{"train": …, "val": …, "test": …}`` holds one data set per split. Each item
is read once, so random transforms are drawn once, and all of it is copied into memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from smash.config import LoadSettings
from smash.data.dataset import Source
from smash.data.sources.arrays import describe_axes, from_arrays, read_labels, to_images
from smash.data.sources.images import WHITE, Decoder, Picture
from smash.data.splits import split_images
from smash.errors import DataError, listed, shortened

IN_MEMORY = "(in memory)"
"""Name of such data, by which it cannot be found again."""

_SPLITS = ("train", "val", "test")


def read_memory(source: object, settings: LoadSettings) -> Source:
    """Reads arrays or torch data sets.

    Args:
        source: One of the forms above.
        settings: `image_size` is for PIL images, `dims` and `channels` for arrays and tensors.

    Raises:
        DataError: The source has none of those forms, or cannot be used; all faults.
    """
    if isinstance(source, tuple) and len(source) == 2:
        source = dict(zip(("data", "labels"), source, strict=True))
    elif isinstance(source, Dataset):
        source = {"train": source}
    if not isinstance(source, Mapping):
        raise DataError(
            "data must be a name, a path, a pair (data, labels), a mapping of arrays or a torch "
            f"Dataset, got {type(source).__name__}"
        )
    if any(isinstance(value, Dataset) for value in source.values()):
        return _read_datasets(source, settings)
    _refuse_size(settings)
    return from_arrays(source, settings)


def _refuse_size(settings: LoadSettings) -> None:
    if settings.image_size is not None:
        raise DataError(f"image_size is for images: leave it out, got {settings.image_size}")


def _read_datasets(datasets: Mapping[Any, Any], settings: LoadSettings) -> Source:
    faults = [
        f"split {name!r} must be train, val or test, and hold a torch Dataset"
        for name, dataset in datasets.items()
        if name not in _SPLITS or not isinstance(dataset, Dataset)
    ]
    if "train" not in datasets:
        faults.append("split 'train' is missing: add it")
    faults += [
        f"the {name} split must be a map-style Dataset, with a length and items by number, got "
        f"{type(dataset).__name__}"
        for name, dataset in datasets.items()
        if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized)
    ]
    if faults:
        raise DataError(*faults)
    ordered = {name: datasets[name] for name in _SPLITS if name in datasets}
    images: list[Any] = []
    labels: dict[str, list[Any]] = {name: [] for name in ordered}
    for name, dataset in ordered.items():
        for index in range(len(dataset)):
            item = dataset[index]
            if not (isinstance(item, tuple | list) and len(item) == 2):
                faults.append(
                    f"item {index} of the {name} split must be a pair (image, label), got "
                    f"{type(item).__name__}"
                )
                continue
            image, label = item
            images.append(image)
            labels[name].append(label.item() if isinstance(label, Tensor | np.generic) else label)
    if faults:
        raise DataError(*shortened(faults))
    if not images:
        raise DataError("the train split has no items: add examples")

    named = [d.classes for d in ordered.values() if getattr(d, "classes", None) is not None]
    classes, numbers = read_labels(
        {name: np.asarray(own) for name, own in labels.items()},
        np.asarray([str(name) for name in named[0]]) if named else None,
    )
    stored, white, notes = _stack(images, settings)
    return Source(
        classes=classes,
        splits=split_images(stored, numbers),
        flip=stored.ndim == 4,
        augmented=False,  # the data set's own transforms may have augmented them
        notes=notes,
        white=white,
    )


def _stack(images: list[Any], settings: LoadSettings) -> tuple[Tensor, int, tuple[str, ...]]:
    """Makes one tensor of all images, with the value that is white, and notes on how."""
    photos = sum(isinstance(image, Image.Image) for image in images)
    if photos == len(images):
        pictures = [
            Picture(f"item {number}", partial(Image.Image.copy, image))
            for number, image in enumerate(images)
        ]
        decoder = Decoder(pictures, settings.image_size)
        return decoder.in_memory(), decoder.white, decoder.notes
    if photos:
        raise DataError(
            f"images must be all PIL images or all arrays, got {photos} PIL images of "
            f"{len(images)}: add a transform that makes them alike"
        )
    _refuse_size(settings)
    arrays = [
        image.numpy(force=True) if isinstance(image, Tensor) else np.asarray(image)
        for image in images
    ]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise DataError(
            f"images must have the same shape, got {listed(shapes)}: add a transform that resizes "
            "them"
        )
    stacked = np.stack(arrays)
    stored = to_images({"data": stacked}, settings)["data"]
    return stored, WHITE, (describe_axes(stacked, stored, settings),)
