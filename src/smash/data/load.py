"""`load_data`: from a name, a path or arrays to examples in three splits."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from torch.utils.data import Dataset

from smash.config import DataSettings
from smash.data.batches import batches
from smash.data.dataset import MIN_SIDE, Data, Source, Split
from smash.data.sources.arrays import Channels, read_archive
from smash.data.sources.folder import read_folder
from smash.data.sources.imagenet32 import read_imagenet32
from smash.data.sources.images import MAX_SIDE
from smash.data.sources.memory import IN_MEMORY, read_memory
from smash.data.sources.modelnet import read_modelnet10, read_modelnet40
from smash.data.sources.parquet import is_table, read_table
from smash.data.sources.torchvision import (
    ALL_FOLDS,
    read_cifar10,
    read_cifar100,
    read_digits,
    read_stl10,
)
from smash.data.splits import TEST_SEED, VAL_SEED, cut, cut_last
from smash.data.transforms import Augmentation, channel_statistics
from smash.errors import DataError, InvalidValueError, SmashError, unknown
from smash.io.files import check_exists

DATASETS: dict[str, Callable[..., Source]] = {
    "digits": read_digits,
    "cifar10": read_cifar10,
    "cifar100": read_cifar100,
    "stl10": read_stl10,
    "imagenet32": read_imagenet32,
    "modelnet10": read_modelnet10,
    "modelnet40": read_modelnet40,
}
"""Data sets that have a name; add your own reader under its name.

A reader may take ``data_dir``, ``image_size`` and ``fold``: it is given those that it names.
"""

ValOrder = Literal["stratified", "last"]
Kind = Literal["name", "folder", "archive", "table", "memory"]

_MOST_SET_APART = 0.9
_CHUNK = 2**24  # bytes hashed at a time

_USES = {
    "image_size": (("folder", "table", "memory"), "folders of images"),
    "dims": (("archive", "memory"), ".npz files"),
    "channels": (("archive", "memory"), ".npz files"),
    "data_dir": ((), "named data sets that come in files"),
    "fold": ((), "'stl10'"),
}


def load_data(
    source: str | Path | tuple[Any, Any] | Mapping[str, Any] | Dataset[Any],
    *,
    image_size: int | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.15,
    val_order: ValOrder = "stratified",
    augment: bool | None = None,
    dims: int | None = None,
    channels: Channels | None = None,
    data_dir: str | Path | None = None,
    fold: int | None = None,
) -> Data:
    """Loads a data set.

    A split that the source does not have is cut from the training examples, stratified: first
    test, then validation from what is left. What is cut depends on the data and on the fractions
    alone, so all runs are judged on the same examples.

    Args:
        source: A name in `DATASETS`, a folder of class folders (with or without ``train``,
            ``val`` and ``test``), an ``.npz`` file (`smash.data.sources.arrays` says of what), a
            data set
            that Hugging Face `datasets` saved, or Parquet (`smash.data.sources.parquet`). Or what
            the program holds: arrays ``(data, labels)`` or ``{"data": …, "labels": …}``, or a torch
            `Dataset` (`smash.data.sources.memory`).
        image_size: Side to which images of a folder are resized, in pixels; by default they
            keep a common size, and get one of at most 64 if sizes differ.
        val_fraction: Share of the training examples to validate on, 0…1 exclusive.
        test_fraction: Share of all examples to test on, 0…1 exclusive.
        val_order: Which training examples to validate on, where the source does not say:
            ``stratified``, a fair share of each class, or the ``last`` ones, as the original did.
        augment: Whether training examples are augmented; by default, photos in folders are.
        dims: Spatial axes of an example of an ``.npz`` file: 1, 2 or 3.
        channels: Where an ``.npz`` file has the axis of channels: ``none``, ``first``, ``last``.
        data_dir: Folder that has the files of a named data set, or gets those that can be
            downloaded; by default what ``SMASH_DATA`` names, or ``~/.cache/smash/data``.
        fold: Which of the ten published parts of STL-10's training examples to take, 0…9; 10 or
            None for all of them.

    Raises:
        DataError: The data cannot be read or learned from.
        NotFoundError: There is nothing at a path.
        MissingExtraError: A package that reads such data is not installed.
        InvalidValueError: An argument is outside what is allowed, or a name is not known.
    """
    kind = kind_of(source)
    name = IN_MEMORY if kind == "memory" else str(source)
    options: dict[str, Any] = {
        "image_size": image_size,
        "dims": dims,
        "channels": channels,
        "data_dir": None if data_dir is None else str(data_dir),
        "fold": fold,
    }
    of_reader = inspect.signature(DATASETS[name]).parameters if kind == "name" else {}
    faults = _argument_faults(val_fraction, test_fraction, val_order, **options) + [
        f"{option} is for {use}: leave it out for {name!r}, got {options[option]}"
        for option, (of, use) in _USES.items()
        if options[option] is not None and kind not in of and option not in of_reader
    ]
    if faults:
        raise InvalidValueError(*faults)

    wanted = {option: value for option, value in options.items() if option in of_reader}
    found = _read(source, kind, image_size, dims, channels, wanted)
    train, val, test, notes = found.train, found.val, found.test, list(found.notes)
    if test is None:
        train, test = cut(train, test_fraction, TEST_SEED, keep=2 if val is None else 1)
        notes.append(_cut_note("test", test_fraction, "examples", test))
    if val is None:
        of = "training examples"
        if val_order == "last":
            train, val = cut_last(train, val_fraction)
            notes.append(_cut_note("validation", val_fraction, of, val, "the last ones"))
        else:
            train, val = cut(train, val_fraction, VAL_SEED, keep=1)
            notes.append(_cut_note("validation", val_fraction, of, val))
    mean, std, fingerprint = _facts(found, val_order, train, val, test)
    return Data(
        name=name,
        train=train,
        val=val,
        test=test,
        classes=found.classes,
        mean=mean,
        std=std,
        augmentation=_augmentation(found, augment),
        notes=tuple(notes),
        settings=DataSettings(
            source=name,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            val_order=val_order,
            augment=augment,
            fingerprint=fingerprint,
            **options,
        ),
    )


def kind_of(source: object) -> Kind:
    """What a source is.

    Raises:
        NotFoundError: There is nothing at a path.
        InvalidValueError: A name is not known.
    """
    if not isinstance(source, str | Path):
        return "memory"
    path = Path(source)
    if str(source) in DATASETS:
        return "name"
    if is_table(path):
        return "table"
    if path.is_dir():
        return "folder"
    if path.exists():
        return "archive"
    check_exists(source)
    fault = unknown("data set", str(source), DATASETS)
    raise InvalidValueError(f"{fault} (or give the path of a folder or an .npz file)")


def _read(
    source: Any,
    kind: Kind,
    image_size: int | None,
    dims: int | None,
    channels: Channels | None,
    wanted: Mapping[str, Any],
) -> Source:
    """Reads a source of a kind; what the system refuses becomes a fault."""
    try:
        if kind == "memory":
            return read_memory(source, image_size, dims, channels)
        if kind == "folder":
            return read_folder(Path(source), image_size)
        if kind == "table":
            return read_table(Path(source), image_size)
        if kind == "archive":
            return read_archive(Path(source), dims, channels)
        return DATASETS[str(source)](**wanted)
    except OSError as error:
        if isinstance(error, SmashError):
            raise
        raise DataError(
            f"{error.filename or source} cannot be read ({error.strerror or error}): "
            "give this user the right to read it"
        ) from None


def _argument_faults(
    val_fraction: float,
    test_fraction: float,
    val_order: str,
    image_size: int | None,
    dims: int | None,
    channels: str | None,
    data_dir: str | None,
    fold: int | None,
) -> list[str]:
    fractions = {"val_fraction": val_fraction, "test_fraction": test_fraction}
    faults = [
        f"{name} must lie between 0 and 1, both excluded, got {fraction}"
        for name, fraction in fractions.items()
        if not 0 < fraction < 1
    ]
    if not faults and val_fraction + test_fraction >= _MOST_SET_APART:
        faults.append(
            f"val_fraction and test_fraction must add up to less than {_MOST_SET_APART}, "
            f"got {val_fraction} and {test_fraction}"
        )
    if image_size is not None and image_size < MIN_SIDE:
        faults.append(f"image_size must be at least {MIN_SIDE}, got {image_size}")
    if image_size is not None and image_size > MAX_SIDE:
        faults.append(f"image_size must be at most {MAX_SIDE}, got {image_size}")
    if fold is not None and not 0 <= fold <= ALL_FOLDS:
        faults.append(f"fold must be from 0 to 9, or {ALL_FOLDS} for all of them, got {fold}")
    if dims not in (None, 1, 2, 3):
        faults.append(f"dims must be 1, 2 or 3, got {dims}")
    if val_order not in get_args(ValOrder):
        faults.append(unknown("order of validation examples", val_order, get_args(ValOrder)))
    if channels is not None and channels not in get_args(Channels):
        faults.append(unknown("place of channels", channels, get_args(Channels)))
    return faults


def _augmentation(found: Source, augment: bool | None) -> Augmentation:
    """Crops with up to 4 pixels of padding, an eighth of a small example; flips where it may."""
    if not (found.augmented if augment is None else augment):
        return Augmentation()
    return Augmentation(min(4, min(found.train.images.shape[2:]) // 8), found.flip)


def _cut_note(split: str, fraction: float, of: str, taken: Split, how: str = "stratified") -> str:
    return (
        f"no {split} split found: {100 * fraction:g}% of the {of} set apart, {how} "
        f"({len(taken)} examples)"
    )


def _facts(
    found: Source, val_order: ValOrder, train: Split, val: Split, test: Split
) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Statistics of the channels and the fingerprint, from where they are kept if they are."""
    splits = (train, val, test)
    # Of the same images, a cut is known by its order and its labels: they say which examples it is.
    about = [found.classes, val_order, *map(len, splits)]
    label_digest = hashlib.sha256(json.dumps(about).encode())
    for split in splits:
        label_digest.update(split.labels.numpy().data)
    name = label_digest.hexdigest()
    known = found.facts.recall(name) if found.facts else None
    if known is None:
        mean, std = channel_statistics(train.stored, train.rows)
        known = [mean, std, _fingerprint(found.classes, *splits)]
        if found.facts:
            found.facts.remember(name, known)
    mean, std, fingerprint = known
    return tuple(mean), tuple(std), str(fingerprint)


def _fingerprint(classes: tuple[str, ...], *splits: Split) -> str:
    """A hash of all that the examples are; of decoded pixels, not of files."""
    shapes = [
        ((len(split) * split.views, *split.stored.shape[1:]), str(split.stored.dtype))
        for split in splits
    ]
    digest = hashlib.sha256(json.dumps([classes, shapes]).encode())
    for split in splits:
        digest.update(split.labels.numpy().data)
        step = max(1, _CHUNK // (split.views * split.stored[0].nbytes))
        for batch in batches(split, step):
            digest.update(batch.images.numpy().data)
    return digest.hexdigest()
