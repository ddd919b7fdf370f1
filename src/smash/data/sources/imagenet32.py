"""ImageNet32×32 (Chrabaszcz et al. 2017, arXiv 1707.08819): 1.3 million photos, 1000 classes.

Two layouts are read: the published ``train_data_batch_1.npz`` … ``_10.npz`` and ``val_data.npz``,
or one file per split, ``imagenet32x32_train.npz`` and ``imagenet32x32_val.npz``. Each file has
``data``, N×3072 in the order of channel, row, column (or with these as axes), and ``labels``, from
1 to 1000 (or from 0 to 999).

The published validation examples are the test split here, because the labels of the published test
examples are not public.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smash.data.dataset import Source, Split
from smash.data.sources.files import data_folder, find_files, missing_files, read_array, resized
from smash.data.splits import check_classes
from smash.errors import DataError, RunStateError
from smash.io.files import read_text
from smash.io.text import as_size

_CLASSES = 1000
_SHAPE = (3, 32, 32)
_BATCHES = tuple(f"train_data_batch_{number}.npz" for number in range(1, 11))
_VAL = "val_data.npz"
_SINGLE = tuple(f"imagenet32x32_{split}.npz" for split in ("train", "val"))
_NAMES = "map_clsloc.txt"
_SUBFOLDERS = ("", "imagenet32", "Imagenet32_train_npz", "Imagenet32_val_npz")
_WHERE = (
    "unpack Imagenet32_train_npz.zip and Imagenet32_val_npz.zip there (from "
    "https://image-net.org/download-images, with an account)"
)


def read_imagenet32(data_dir: str | Path | None = None, image_size: int | None = None) -> Source:
    """Reads ImageNet32×32.

    Args:
        data_dir: The folder of the files, which may be in the subfolders of the published
            archives or in ``imagenet32``; or the file of the training split, with one beside it
            that has ``val`` for ``train`` in its name. See `data_folder`.
        image_size: Side that images are resized to, in pixels; None to keep them.

    Raises:
        DataError: Files are missing, or hold something else.
    """
    train_paths, test_path, folder = _paths(data_folder(data_dir))
    labels = [_labels(path) for path in (*train_paths, test_path)]
    first = min((int(part.min()) for part in labels if part.size), default=0)
    train = _split(train_paths, labels[:-1], first, image_size)
    test = _split([test_path], labels[-1:], first, image_size)
    classes = class_names(folder / _NAMES)
    check_classes(classes, {"train": train.labels, "test": test.labels}, "get the whole data set")
    return Source(
        classes=classes,
        splits={"train": train, "test": test},
        flip=True,
        augmented=True,
        notes=("the published validation examples are the test split",),
    )


def _paths(place: Path) -> tuple[list[Path], Path, Path]:
    """Finds the files of training examples, the file of test examples, and their folder."""
    if place.is_file():
        names = [place.name, place.name.replace("train", "val")]
        layouts, folders, place = [names], [place.parent], place.parent
    else:
        layouts = [[*_BATCHES, _VAL], list(_SINGLE)]
        folders = [place / name for name in _SUBFOLDERS]
    found = [find_files(folders, names) for names in layouts]
    for names, paths in zip(layouts, found, strict=True):
        if len(set(names)) > 1 and len(paths) == len(names):
            *train, test = (paths[name] for name in names)
            return train, test, train[0].parent
    # The more complete layout is the one that is meant.
    names, paths = max(
        zip(layouts, found, strict=True), key=lambda pair: len(pair[1]) / len(pair[0])
    )
    raise missing_files("imagenet32", place, [name for name in names if name not in paths], _WHERE)


def _labels(path: Path) -> NDArray[Any]:
    labels = read_array(path, "labels")
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(
            f"{path}: labels must be one axis of integers, got {labels.dtype} of shape "
            f"{as_size(labels.shape)}"
        )
    return labels


def _split(
    paths: Sequence[Path], labels: Sequence[NDArray[Any]], first: int, image_size: int | None
) -> Split:
    """Reads one file after the other into one array, because all of them fill 4 GB."""
    images = np.empty((sum(map(len, labels)), *_SHAPE), dtype=np.uint8)
    end = 0
    for path, of_file in zip(paths, labels, strict=True):
        if of_file.size and not (0 <= first <= 1 and of_file.max() < first + _CLASSES):
            raise DataError(
                f"{path}: labels must be from 1 to {_CLASSES}, or from 0 to {_CLASSES - 1}, got "
                f"{of_file.min()} to {of_file.max()}"
            )
        start, end = end, end + len(of_file)
        images[start:end] = _images(path, len(of_file))
    return Split(
        resized(torch.from_numpy(images), image_size),
        torch.from_numpy(np.concatenate(labels).astype(np.int64) - first),
    )


def _images(path: Path, count: int) -> NDArray[np.uint8]:
    """Reads the images of a file, shape ``(count, 3, 32, 32)``."""
    data = read_array(path, "data")
    if data.dtype == np.uint8:
        if data.shape in ((count, 3072), (count, *_SHAPE)):
            return data.reshape(count, *_SHAPE)
        if data.shape == (count, 32, 32, 3):
            return np.moveaxis(data, -1, 1)
    raise DataError(
        f"{path}: data must be uint8 of shape {count}x3072 for its {count} labels, got "
        f"{data.dtype} of shape {as_size(data.shape)}"
    )


def class_names(path: Path) -> tuple[str, ...]:
    """Reads the names of the classes from the published list, or else uses their numbers.

    A name is number and word, because the list has two cranes and two maillots.

    Args:
        path: The list, which may be missing.

    Raises:
        DataError: The file is another list.
    """
    numbers = [str(number) for number in range(1, _CLASSES + 1)]
    if not path.is_file():
        return tuple(numbers)
    try:
        lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    except RunStateError as error:
        raise DataError(*error.faults) from None
    names = {line[1]: f"{line[0]} {line[2]}" for line in lines if len(line) == 3}
    if set(names) != set(numbers):
        raise DataError(
            f"{path} must have a line 'wnid number word' for each number from 1 to {_CLASSES}, has "
            f"{len(names)}: get the published file, or remove it"
        )
    return tuple(names[number] for number in numbers)
