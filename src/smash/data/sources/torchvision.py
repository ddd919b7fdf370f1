"""CIFAR-10, CIFAR-100 and STL-10, read by torchvision and downloaded if necessary.

CIFAR's files are pickles, which may run code when they are read. torchvision compares the md5 of
each file with the published one before it opens it, so only the published bytes are unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smash.data.dataset import Source, Split
from smash.data.sources.files import FOLDER_VARIABLE, data_folder, resized
from smash.errors import DataError

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10, STL10

ALL_FOLDS = 10
"""Number of the fold that stands for all examples of STL-10."""


def read_cifar10(data_dir: str | Path | None = None, image_size: int | None = None) -> Source:
    """Reads CIFAR-10: 60,000 photos of 32×32 pixels, 10 classes."""
    from torchvision.datasets import CIFAR10

    return read_cifar(CIFAR10, data_dir, image_size)


def read_cifar100(data_dir: str | Path | None = None, image_size: int | None = None) -> Source:
    """Reads CIFAR-100: 60,000 photos of 32×32 pixels, 100 fine classes."""
    from torchvision.datasets import CIFAR100

    return read_cifar(CIFAR100, data_dir, image_size)


def read_stl10(
    data_dir: str | Path | None = None, image_size: int | None = None, fold: int | None = None
) -> Source:
    """Reads STL-10: 13,000 labelled photos of 96×96 pixels, 10 classes."""
    from torchvision.datasets import STL10

    class Labelled(STL10):  # type: ignore[misc]
        # Leaves out the unlabelled photos: 2.7 GB, whose md5 would be computed each time.
        train_list = STL10.train_list[:2]

    return read_stl(Labelled, data_dir, image_size, fold)


def read_cifar(
    reader: type[CIFAR10], data_dir: str | Path | None, image_size: int | None
) -> Source:
    """Reads a data set in the format of CIFAR.

    Args:
        reader: torchvision's class, which knows names, md5 and address of the files.
        data_dir: The folder that has or gets the reader's ``base_folder``; see `data_folder`.
        image_size: Side that images are resized to, in pixels; None to keep them.

    Raises:
        DataError: The files neither exist nor can be downloaded.
    """
    train, test = (_open(reader, data_dir, train=train) for train in (True, False))
    return _source(
        train.classes, {"train": (train, train.targets), "test": (test, test.targets)}, image_size
    )


def read_stl(
    reader: type[STL10], data_dir: str | Path | None, image_size: int | None, fold: int | None
) -> Source:
    """Reads a data set in the format of STL-10.

    Args:
        reader: torchvision's class, which knows names, md5 and address of the files.
        data_dir: The folder that has or gets the reader's ``base_folder``; see `data_folder`.
        image_size: Side that images are resized to, in pixels; None to keep them.
        fold: One of the ten published parts of the training examples, 0…9; 10 or None for all.

    Raises:
        DataError: The files neither exist nor can be downloaded.
    """
    folds = None if fold == ALL_FOLDS else fold
    train = _open(reader, data_dir, split="train", folds=folds)
    test = _open(reader, data_dir, split="test")
    return _source(
        train.classes, {"train": (train, train.labels), "test": (test, test.labels)}, image_size
    )


def _open(reader: type[Any], data_dir: str | Path | None, **options: Any) -> Any:
    """Makes torchvision's data set, which downloads missing or damaged files."""
    folder = data_folder(data_dir)
    if folder.name == reader.base_folder and folder.is_dir():
        folder = folder.parent
    try:
        return reader(folder, download=True, **options)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise DataError(
            f"{reader.base_folder} is missing or incomplete in {folder} and cannot be downloaded "
            f"({reason}): put {reader.filename} from {reader.url} (md5 {reader.tgz_md5}) there, or "
            f"name the folder that has it with --data-dir or {FOLDER_VARIABLE}"
        ) from None


def _source(
    classes: list[str], found: dict[str, tuple[Any, Any]], image_size: int | None
) -> Source:
    splits = {
        name: Split(
            resized(torch.from_numpy(_channels_first(data.data)), image_size),
            torch.from_numpy(np.asarray(labels, dtype=np.int64)),
        )
        for name, (data, labels) in found.items()
    }
    return Source(classes=tuple(classes), splits=splits, flip=True, augmented=True)


def _channels_first(images: Any) -> Any:
    """Makes contiguous N×3×H×W of torchvision's images, N×H×W×3 or N×3×H×W."""
    if images.shape[-1] == 3:
        images = np.moveaxis(images, -1, 1)
    return np.ascontiguousarray(images)
