"""Data that the program holds already: arrays, and torch data sets.

Arrays are a pair ``(data, labels)`` or a mapping with the names that an ``.npz`` file has. A torch
data set is map-style and gives pairs of an image (a PIL image, an array or a tensor) and a label;
several of them, one a split, are a mapping ``{"train": …, "val": …, "test": …}``. A data set is
read once, item by item, so what its transforms draw at random is drawn once. All of it is copied
into memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from smash.data.dataset import Source
from smash.data.sources.arrays import Channels, from_arrays, read_labels
from smash.data.sources.images import Decoder, Picture
from smash.data.splits import check_classes, share_out
from smash.errors import DataError, shortened

IN_MEMORY = "(in memory)"
"""What such data is called; it cannot be found again by this name."""

_SPLITS = ("train", "val", "test")
_MEND = "add examples or leave the class out"


def read_memory(
    source: object, image_size: int | None, dims: int | None, channels: Channels | None
) -> Source:
    """Reads arrays or torch data sets.

    Args:
        source: One of the forms above.
        image_size: Side to which PIL images are resized, in pixels; see `Decoder`.
        dims: See `smash.data.sources.arrays`; of arrays and tensors.
        channels: Likewise.

    Raises:
        DataError: It is none of those forms, or cannot be used; all faults of it.
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
    if not any(isinstance(value, Dataset) for value in source.values()):
        if image_size is not None:
            raise DataError(f"image_size is for images: leave it out for arrays, got {image_size}")
        return from_arrays(source, dims, channels)
    return _read_datasets(source, image_size, dims, channels)


def _read_datasets(
    datasets: Mapping[Any, Any], image_size: int | None, dims: int | None, channels: Channels | None
) -> Source:
    faults = [
        f"split {name!r} must be train, val or test, with a torch Dataset each"
        for name, dataset in datasets.items()
        if name not in _SPLITS or not isinstance(dataset, Dataset)
    ]
    if "train" not in datasets:
        faults.append("split 'train' must be there: add it")
    faults += [
        f"the {name} split must be a map-style Dataset, with a length and items by number, got an "
        f"{type(dataset).__name__}"
        for name, dataset in datasets.items()
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__")
    ]
    if faults:
        raise DataError(*faults)
    ordered = {name: datasets[name] for name in _SPLITS if name in datasets}
    images: list[Any] = []
    given: list[Any] = []
    for name, dataset in ordered.items():
        for index in range(len(dataset)):
            item = dataset[index]
            if not (isinstance(item, tuple | list) and len(item) == 2):
                faults.append(
                    f"item {index} of the {name} split must be a pair (image, label), got "
                    f"{type(item).__name__}"
                )
                continue
            images.append(item[0])
            given.append(item[1].item() if isinstance(item[1], Tensor | np.generic) else item[1])
    if faults:
        raise DataError(*shortened(faults))
    if not images:
        raise DataError("the train split must hold items, got none: add examples")

    arrays: dict[str, Any] = {"labels": given}
    named = [d.classes for d in ordered.values() if getattr(d, "classes", None) is not None]
    if named:
        arrays["classes"] = [str(name) for name in named[0]]
    photos = [image for image in images if isinstance(image, Image.Image)]
    if photos and len(photos) == len(images):
        plain = {key: np.asarray(value) for key, value in arrays.items()}
        classes, labels = read_labels({"data": np.empty(len(given)), **plain})
        decoder = Decoder(
            [Picture(f"item {i}", partial(Image.Image.copy, p)) for i, p in enumerate(photos)],
            image_size,
        )
        stored, of_all, notes = decoder.in_memory(), labels["train"], decoder.notes
    elif photos:
        raise DataError(
            f"images must be all PIL images or all arrays, got {len(photos)} of {len(images)} PIL "
            "images: give the data set a transform that makes them alike"
        )
    else:
        if image_size is not None:
            raise DataError(f"image_size is for PIL images: leave it out, got {image_size}")
        found = from_arrays({"data": _stacked(images), **arrays}, dims, channels)
        classes, stored, of_all = found.classes, found.train.stored, found.train.labels
        notes = found.notes

    parts = torch.split(of_all, [len(dataset) for dataset in ordered.values()])
    by_split = dict(zip(ordered, parts, strict=True))
    check_classes(classes, by_split, _MEND)
    splits = share_out(stored, by_split)
    return Source(
        classes=classes,
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        flip=stored.ndim == 4,
        augmented=False,  # its own transforms may have done so
        notes=notes,
    )


def _stacked(images: list[Any]) -> Any:
    """One array of arrays or tensors.

    Raises:
        DataError: They differ in shape.
    """
    arrays = [
        image.numpy(force=True) if isinstance(image, Tensor) else np.asarray(image)
        for image in images
    ]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise DataError(
            f"images must be of one shape, got {', '.join(map(str, shortened(map(str, shapes))))}"
            ": give the data set a transform that resizes them"
        )
    return np.stack(arrays)
