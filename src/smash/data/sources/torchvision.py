"""CIFAR-10, CIFAR-100 and STL-10, read by torchvision, and downloaded where they are not there.

CIFAR's files are pickles, and a pickle can run code when it is read. torchvision compares the md5
of each with the published one before it opens it, so that nothing but the published bytes is ever
unpickled: nobody can make another file for a given md5.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smash.data.dataset import Source, Split
from smash.data.sources.files import FOLDER_VARIABLE, data_folder, resized
from smash.errors import DataError

if TYPE_CHECKING:  # torchvision is slow to import, and most data needs none of it
    from torchvision.datasets import CIFAR10, STL10


from sklearn.datasets import load_digits

ALL_FOLDS = 10
"""The number that stands for all folds of STL-10 together."""


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
        # The unlabelled photos are 2.7 GB whose md5 would be computed at each start.
        train_list = STL10.train_list[:2]

    return read_stl(Labelled, data_dir, image_size, fold)


def read_cifar(
    reader: type[CIFAR10], data_dir: str | Path | None, image_size: int | None
) -> Source:
    """Reads a data set that comes in CIFAR's files.

    Args:
        reader: torchvision's class, which knows names, md5 and address of the files.
        data_dir: The folder that has or gets the reader's ``base_folder``; see `data_folder`.
        image_size: Side to which images are resized, in pixels; None to leave them as they are.

    Raises:
        DataError: The files are neither there nor can be downloaded.
    """
    train, test = (_open(reader, data_dir, train=train) for train in (True, False))
    return _source(train.classes, train, train.targets, test, test.targets, image_size)


def read_stl(
    reader: type[STL10], data_dir: str | Path | None, image_size: int | None, fold: int | None
) -> Source:
    """Reads a data set that comes in STL-10's files.

    Args:
        reader: torchvision's class, which knows names, md5 and address of the files.
        data_dir: The folder that has or gets the reader's ``base_folder``; see `data_folder`.
        image_size: Side to which images are resized, in pixels; None to leave them as they are.
        fold: Which of the ten published parts of the training examples, 0…9; 10 or None for all.

    Raises:
        DataError: The files are neither there nor can be downloaded.
    """
    folds = None if fold == ALL_FOLDS else fold
    train = _open(reader, data_dir, split="train", folds=folds)
    test = _open(reader, data_dir, split="test")
    return _source(train.classes, train, train.labels, test, test.labels, image_size)


def _open(reader: type[Any], data_dir: str | Path | None, **options: Any) -> Any:
    """Makes torchvision's data set, which downloads what is missing or damaged."""
    folder = data_folder(data_dir)
    if folder.name == reader.base_folder and folder.is_dir():
        folder = folder.parent
    try:
        return reader(folder, download=True, **options)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise DataError(
            f"{reader.base_folder} must be whole in {folder}, and neither is nor can be "
            f"downloaded there ({reason}): put {reader.filename} from {reader.url} (md5 "
            f"{reader.tgz_md5}) there, or name the folder that has it with --data-dir or "
            f"{FOLDER_VARIABLE}"
        ) from None


def _source(
    classes: list[str], train: Any, train_labels: Any, test: Any, test_labels: Any, side: int | None
) -> Source:
    train_split, test_split = (
        Split(
            resized(torch.from_numpy(_channels_first(data.data)), side),
            torch.from_numpy(np.asarray(labels, dtype=np.int64)),
        )
        for data, labels in ((train, train_labels), (test, test_labels))
    )
    return Source(
        classes=tuple(classes), train=train_split, test=test_split, flip=True, augmented=True
    )


def _channels_first(images: Any) -> Any:
    """Images of torchvision's data sets, N×H×W×3 or N×3×H×W, as a contiguous N×3×H×W."""
    if images.shape[-1] == 3:
        images = np.moveaxis(images, -1, 1)
    return np.ascontiguousarray(images)


def read_digits() -> Source:
    """Reads the digits; their 17 levels are spread over 0…255."""
    bunch = load_digits()
    images = torch.from_numpy(bunch.images)[:, None]
    return Source(
        classes=tuple(map(str, bunch.target_names)),
        train=Split(
            (images * (255 / 16)).round().to(torch.uint8), torch.from_numpy(bunch.target).long()
        ),
        flip=False,  # a mirrored 3 is no digit
        augmented=False,
    )
