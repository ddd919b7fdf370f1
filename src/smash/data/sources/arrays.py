"""Arrays, from an ``.npz`` file or from memory.

========================  ==========================================  =====================
key                       also called                                 holds
========================  ==========================================  =====================
``data``                  ``x``, ``x_train``, ``train_images``, …     examples
``labels``                ``y``, ``y_train``, ``train_labels``, …     integers, one each
``val_data``              ``x_val``, ``val_images``, …                examples, optional
``val_labels``            ``y_val``, …                                their labels
``test_data``             ``x_test``, ``test_images``, …              examples, optional
``test_labels``           ``y_test``, …                               their labels
``groups``                ``train_groups``; likewise for the others   numbers or words
``classes``               ``class_names``                             names of the classes
========================  ==========================================  =====================

Examples of the same group stay in the same split. The axes of ``data`` are N×C×spatial or
N×spatial. Their meaning follows from their number, unless settings say it:

========  ===================================================================
axes      read as
========  ===================================================================
2         N×L, signals of one channel
3         N×H×W, grey images; N×C×L or N×L×C, signals, with ``dims=1`` or where
          an axis is at least four times as long as the other, which is C
4         N×C×H×W if the second axis is 1…4, N×H×W×C if the last one is;
          with ``dims=3`` N×D×H×W
5         N×C×D×H×W
========  ===================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smash.config import LoadSettings
from smash.data.dataset import MIN_SIDE, Source, Split
from smash.data.sources.npz import member_names, read_npz, unreadable
from smash.data.splits import check_classes, number_groups
from smash.errors import DataError, collecting, listed
from smash.io.text import as_size

Arrays = Mapping[str, NDArray[Any]]

_ALIASES = {
    "data": "data images x x_train train_x train_data train_images",
    "labels": "labels targets y y_train train_y train_labels train_targets",
    "groups": "groups groups_train train_groups",
    "val_data": "val_data x_val val_x val_images x_valid valid_data valid_images",
    "val_labels": "val_labels y_val val_y val_targets y_valid valid_labels valid_targets",
    "val_groups": "val_groups groups_val valid_groups",
    "test_data": "test_data x_test test_x test_images",
    "test_labels": "test_labels y_test test_y test_targets",
    "test_groups": "test_groups groups_test",
    "classes": "classes class_names",
}
_KEYS = {alias: key for key, aliases in _ALIASES.items() for alias in aliases.split()}
_NUMBER = "number the classes from 0, as np.unique(labels, return_inverse=True) does"
_OF_SPLIT = {"train": ("data", "labels", "groups")} | {
    split: tuple(f"{split}_{key}" for key in ("data", "labels", "groups"))
    for split in ("val", "test")
}
_LOOKS_LIKE_A_SPLIT = re.compile(
    r"(^[xy]?|_)(train(ing)?|val(id(ation)?)?|test(ing)?|dev|holdout)(_|\d|$)", re.IGNORECASE
)
_FEW_CHANNELS = range(1, 5)
_SIGNAL = 4  # times as long as it has channels, at least


def read_archive(path: Path, settings: LoadSettings) -> Source:
    """Reads an ``.npz`` file, in which arrays of Python objects are refused.

    Raises:
        DataError: The file or its content cannot be used; all faults.
    """
    try:
        names = member_names(path)
        keys, ignored = _match_keys(names)
        found = read_npz(path, keys.values())
        if found.faults:
            raise DataError(*found.faults)
        arrays = {key: found.arrays[name] for key, name in keys.items()}
        return from_arrays(arrays, settings, ignored)
    except DataError as error:
        raise DataError(*(f"{path}: {fault}" for fault in error.faults)) from None


def from_arrays(
    arrays: Mapping[str, Any], settings: LoadSettings, ignored: Iterable[object] = ()
) -> Source:
    """Makes a data set of arrays, whose numbers are copied.

    Args:
        arrays: NumPy arrays, tensors, or sequences that NumPy makes arrays of, by the keys above.
        settings: Says what the axes mean, with `dims` and `channels`.
        ignored: Keys of further arrays, for a note.

    Raises:
        DataError: The arrays cannot be used; all faults.
    """
    keys, unused = _match_keys(arrays)
    plain = _to_numpy({key: arrays[name] for key, name in keys.items()})
    faults: list[str] = []
    with collecting(faults):
        images = to_images(plain, settings)
    with collecting(faults):
        if wrong := _length_faults(plain):
            raise DataError(*wrong)
        labels = {split: plain[key] for split, (_, key, _) in _OF_SPLIT.items() if key in plain}
        classes, numbers = read_labels(labels, plain.get("classes"))
    with collecting(faults):
        groups = _read_groups(plain)
    if faults:
        raise DataError(*faults)
    train = images["data"]
    ignored = [*ignored, *unused]
    notes = [f"keys ignored: {listed(ignored)}"] if ignored else []
    notes.append(describe_axes(plain["data"], train, settings))
    return Source(
        classes=classes,
        splits={
            split: Split(images[_OF_SPLIT[split][0]], own, groups=groups.get(split))
            for split, own in numbers.items()
        },
        flip=train.ndim == 4,
        notes=tuple(notes),
    )


def _match_keys(names: Iterable[Any]) -> tuple[dict[str, Any], list[Any]]:
    """Matches names of arrays to keys.

    Returns:
        The name of each key, and names without a meaning.

    Raises:
        DataError: Keys are missing or stand twice, or a name looks like a split but is not used.
    """
    names = list(names)
    keys: dict[str, Any] = {}
    unused, faults = [], []
    for name in names:
        key = _KEYS.get(str(name).lower())
        if key is None:
            unused.append(name)
        elif key in keys:
            faults.append(f"keys {keys[key]!r} and {name!r} mean the same: leave one of them out")
        else:
            keys[key] = name
    needed = {"data", "labels"}
    grouped = any(groups in keys for _, _, groups in _OF_SPLIT.values())
    for data, labels, groups in _OF_SPLIT.values():
        if keys.keys() & {data, labels, groups}:
            needed |= {data, labels, groups} if grouped else {data, labels}
    faults += [
        f"key {key!r} is missing, found {listed(sorted(map(str, names)))}"
        for key in sorted(needed - keys.keys())
    ]
    faults += [
        f"key {name!r:.100} looks like part of a split, but is not known: rename it to one of "
        f"{', '.join(_ALIASES)}, or leave it out"
        for name in unused
        if _LOOKS_LIKE_A_SPLIT.search(str(name))
    ]
    if faults:
        raise DataError(*faults)
    return keys, unused


def _to_numpy(arrays: Mapping[str, Any]) -> Arrays:
    faults: list[str] = []
    plain: dict[str, NDArray[Any]] = {}
    for key, value in arrays.items():
        try:
            plain[key] = value.numpy(force=True) if isinstance(value, Tensor) else np.asarray(value)
        except (ValueError, TypeError) as error:
            faults.append(unreadable(key, error))
    if faults:
        raise DataError(*faults)
    return plain


def to_images(arrays: Arrays, settings: LoadSettings) -> dict[str, Tensor]:
    """Converts examples to tensors of shape ``(n, channels, *size)``.

    Args:
        arrays: Examples under ``data``, and under ``val_data`` and ``test_data`` if there are any.
        settings: Says what the axes mean.

    Raises:
        DataError: They cannot be used; all faults.
    """
    found = {data: arrays[data] for data, _, _ in _OF_SPLIT.values() if data in arrays}
    data = found["data"]
    faults = [
        f"{key} must hold numbers, got dtype {array.dtype}"
        for key, array in found.items()
        if array.dtype.kind not in "buif"
    ]
    faults += [
        f"{key} must be like data, {data.dtype} of shape (n, {as_size(data.shape[1:])}), got "
        f"{array.dtype} of shape {as_size(array.shape)}"
        for key, array in found.items()
        if array.shape[1:] != data.shape[1:] or array.dtype != data.dtype
    ]
    if faults:
        raise DataError(*faults)
    converted = _convert(found)
    faults += [
        f"{key} must be finite as float32, got {wrong:,} values that are not: replace them"
        for key, array in converted.items()
        if (wrong := array.size - int(np.isfinite(array).sum()))
    ]
    with collecting(faults):
        axis = _channel_axis(data.shape, settings.dims, settings.channels)
        converted = {
            key: np.expand_dims(array, 1) if axis is None else np.moveaxis(array, axis, 1)
            for key, array in converted.items()
        }
        channels, *size = converted["data"].shape[1:]
        if channels < 1 or min(size) < MIN_SIDE:
            faults.append(
                f"examples must have a channel and at least {MIN_SIDE} values per axis, got "
                f"{channels} channels of size {as_size(size)}: see --dims and --channels"
            )
    if faults:
        raise DataError(*faults)
    return {key: torch.from_numpy(np.ascontiguousarray(a)) for key, a in converted.items()}


def describe_axes(data: NDArray[Any], images: Tensor, settings: LoadSettings) -> str:
    """Words how an array was read, for a note, and how to change that where it is ambiguous."""
    other = ""
    if data.ndim == 3 and settings.dims is None and settings.channels is None:
        other = " (--dims 2 reads images)" if images.ndim == 3 else " (--dims 1 reads signals)"
    return (
        f"data of shape {as_size(data.shape)} read as {images.shape[1]} channel(s) of size "
        f"{as_size(images.shape[2:])}{other}"
    )


def _convert(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Converts booleans and whole numbers in 0…255 to uint8, and all else to float32."""
    kind = next(iter(arrays.values())).dtype.kind
    if kind == "b":
        return {key: array.astype(np.uint8) * np.uint8(255) for key, array in arrays.items()}
    if kind in "iu" and all(
        a.size == 0 or (a.min() >= 0 and a.max() <= 255) for a in arrays.values()
    ):
        return {key: array.astype(np.uint8) for key, array in arrays.items()}
    with np.errstate(over="ignore"):  # infinite values are found later
        return {key: array.astype(np.float32) for key, array in arrays.items()}


def _channel_axis(shape: tuple[int, ...], dims: int | None, channels: str | None) -> int | None:
    """Finds the axis of the channels; None if there is none."""
    axes = len(shape) - 1
    if channels is None:
        if axes == 2 and dims != 2 and max(shape[1:]) >= _SIGNAL * min(shape[1:]):
            channels = "first" if shape[1] < shape[2] else "last"
        elif axes == dims or (dims is None and axes < 3):
            channels = "none"
        elif axes != 3 or dims == 1 or shape[1] in _FEW_CHANNELS:
            channels = "first"
        elif shape[-1] in _FEW_CHANNELS:
            channels = "last"
        else:
            raise DataError(
                f"data of shape {as_size(shape)} must have 1 to 4 channels in the second or the "
                f"last axis: pass --dims 3 for volumes, or --channels first or last"
            )
    found = axes - (channels != "none")
    if found != (dims or found) or not 1 <= found <= 3:
        needed = f"{dims} with dims={dims}" if dims else "1, 2 or 3"
        raise DataError(
            f"data of shape {as_size(shape)} must have {needed} spatial axes besides examples and "
            f"channels ({channels}), has {found}: see --dims and --channels"
        )
    return {"none": None, "first": 1, "last": axes}[channels]


def _length_faults(arrays: Arrays) -> list[str]:
    """Finds labels and groups that are not one per example."""
    return [
        f"{key} must have shape {as_size(arrays[data].shape[:1])}, one per example, got shape "
        f"{as_size(arrays[key].shape)}"
        for data, *others in _OF_SPLIT.values()
        for key in others
        if key in arrays and _column(arrays[key]).shape != arrays[data].shape[:1]
    ]


def _column(array: NDArray[Any]) -> NDArray[Any]:
    """Removes the second axis of a column."""
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def read_labels(
    labels: Mapping[str, NDArray[Any]], classes: NDArray[Any] | None = None
) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Reads the labels of all splits, and names the classes.

    Args:
        labels: Integers, which may be stored as floats or in a column, by split.
        classes: Names of the classes; where None, the classes are named after their labels.

    Returns:
        The names, and the labels of each split, shape ``(n,)``, int64.

    Raises:
        DataError: They are not such labels, or do not fit each other; all faults.
    """
    faults: list[str] = []
    found: dict[str, Tensor] = {}
    for split, own in labels.items():
        with collecting(faults):
            found[split] = _whole_numbers(_column(own), _OF_SPLIT[split][1])
    with collecting(faults):
        names = None if classes is None else _class_names(classes)
    if faults:
        raise DataError(*faults)
    if names is None:
        present = torch.cat(list(found.values())).unique().tolist()
        for place, label in enumerate(present):
            if place != label:
                raise DataError(
                    f"labels must be 0, 1, 2, ... without gaps, got {label} but no {place}: "
                    "renumber them, or name all classes under 'classes'"
                )
        names = tuple(map(str, present))
    faults = [
        f"{_OF_SPLIT[split][1]} must be below the number of classes, {len(names)}, got {largest}"
        for split, own in found.items()
        if (largest := int(own.max()) if len(own) else -1) >= len(names)
    ]
    if faults:
        raise DataError(*faults)
    check_classes(names, found, "add examples or leave the class out")
    return names, found


def _whole_numbers(labels: NDArray[Any], key: str) -> Tensor:
    if labels.dtype.kind == "f" and (labels == np.floor(labels)).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise DataError(f"{key} must be integers, got dtype {labels.dtype}: {_NUMBER}")
    if labels.ndim != 1:
        raise DataError(f"{key} must have one axis, got shape {as_size(labels.shape)}")
    if labels.size and labels.min() < 0:
        raise DataError(f"{key} must be at least 0, got {labels.min()}: {_NUMBER}")
    return torch.from_numpy(labels.astype(np.int64))


def _read_groups(arrays: Arrays) -> dict[str, Tensor]:
    groups = {
        split: _column(arrays[key]) for split, (_, _, key) in _OF_SPLIT.items() if key in arrays
    }
    faults = [
        f"{_OF_SPLIT[split][2]} must be whole numbers or words, got dtype {own.dtype}"
        for split, own in groups.items()
        if own.dtype.kind not in "iuU"
    ]
    if faults:
        raise DataError(*faults)
    return number_groups({split: own.tolist() for split, own in groups.items()})


def _class_names(classes: NDArray[Any]) -> tuple[str, ...]:
    if classes.dtype.kind not in "Uiu" or classes.ndim != 1:
        raise DataError(
            f"classes must be one axis of names, got dtype {classes.dtype} of shape "
            f"{as_size(classes.shape)}"
        )
    names = tuple(map(str, classes))
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"classes must differ, got {listed(map(repr, twice))} more than once")
    return names
