"""Arrays, from an ``.npz`` file or from memory: ``data``, ``labels``, what may come with them.

``data`` is N×C×spatial or N×spatial. Optional are ``classes`` (names) and ``test_data`` with
``test_labels``. What the axes of ``data`` mean follows from their number, unless it is said:

========  ===================================================================
axes      read as
========  ===================================================================
2         N×L, signals of one channel
3         N×H×W, grey images; with ``dims=1`` N×C×L
4         N×C×H×W if the second axis is 1…4, N×H×W×C if the last one is;
          with ``dims=3`` N×D×H×W
5         N×C×D×H×W
========  ===================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smash.data.dataset import MIN_SIDE, Source, Split
from smash.data.sources.npz import read_npz, unreadable
from smash.data.splits import check_classes
from smash.errors import DataError, collecting
from smash.io.text import as_size

Channels = Literal["none", "first", "last"]
Arrays = Mapping[str, NDArray[Any]]

_REQUIRED = ("data", "labels")
_OPTIONAL = ("classes", "test_data", "test_labels")
_FEW_CHANNELS = range(1, 5)


def read_archive(path: Path, dims: int | None, channels: Channels | None) -> Source:
    """Reads an ``.npz`` file; arrays of Python objects are never loaded.

    Args:
        path: The file.
        dims: Spatial axes of an example, 1, 2 or 3; None to go by the table above.
        channels: Where the axis of channels is; None to go by the table above.

    Raises:
        DataError: The file or what it holds cannot be used; all faults of it.
    """
    try:
        arrays, ignored = _load(path)
        return from_arrays(arrays, dims, channels, ignored)
    except DataError as error:
        raise DataError(*(f"{path}: {fault}" for fault in error.faults)) from None


def from_arrays(
    arrays: Mapping[str, Any],
    dims: int | None,
    channels: Channels | None,
    ignored: Iterable[str] = (),
) -> Source:
    """Makes data of arrays; their numbers are copied.

    Args:
        arrays: By the names above; NumPy arrays, tensors or what NumPy makes arrays of.
        dims: See `read_archive`.
        channels: See `read_archive`.
        ignored: Names of further arrays, for a note.

    Raises:
        DataError: The arrays cannot be used; all faults of them.
    """
    ignored = [*ignored, *(key for key in arrays if key not in _REQUIRED + _OPTIONAL)]
    plain = _plain({key: value for key, value in arrays.items() if key not in ignored})
    faults: list[str] = []
    with collecting(faults):
        images = _images(plain, dims, channels)
    with collecting(faults):
        classes, labels = read_labels(plain)
    if faults:
        raise DataError(*faults)
    train = images["data"]
    size = train.shape[2:]
    what = f"{train.shape[1]} channel(s) of size {as_size(size)}"
    notes = [f"keys ignored: {', '.join(map(str, ignored))}"] if ignored else []
    return Source(
        classes=classes,
        train=Split(train, labels["train"]),
        test=Split(images["test_data"], labels["test"]) if "test" in labels else None,
        flip=len(size) == 2,
        augmented=False,
        notes=(*notes, f"data of shape {as_size(plain['data'].shape)} read as {what}"),
    )


def _load(path: Path) -> tuple[Arrays, list[str]]:
    """The arrays that have a meaning, and the names of the others."""
    found = read_npz(path, _REQUIRED + _OPTIONAL)
    if faults := [*_missing(found.names), *found.faults]:
        raise DataError(*faults)
    return found.arrays, sorted(found.names.difference(_REQUIRED + _OPTIONAL))


def _plain(arrays: Mapping[str, Any]) -> Arrays:
    """NumPy arrays of what the caller holds."""
    faults = _missing(set(arrays))
    plain: dict[str, NDArray[Any]] = {}
    for key, value in arrays.items():
        try:
            plain[key] = value.numpy(force=True) if isinstance(value, Tensor) else np.asarray(value)
        except (ValueError, TypeError) as error:
            faults.append(unreadable(key, error))
    if faults:
        raise DataError(*faults)
    return plain


def _missing(found: set[str]) -> list[str]:
    needed = {*_REQUIRED, *(_OPTIONAL[1:] if found & set(_OPTIONAL[1:]) else ())}
    names = ", ".join(sorted(map(str, found))) or "none"
    return [f"key {key!r} must be there, found {names}" for key in sorted(needed - found)]


def _images(arrays: Arrays, dims: int | None, channels: Channels | None) -> dict[str, Tensor]:
    """``data`` and ``test_data`` as tensors of shape ``(n, channels, *size)``."""
    given = {key: arrays[key] for key in ("data", "test_data") if key in arrays}
    data = given["data"]
    faults = [
        f"{key} must hold numbers, got dtype {array.dtype}"
        for key, array in given.items()
        if array.dtype.kind not in "buif"
    ]
    for key, array in given.items():
        if array.shape[1:] != data.shape[1:] or array.dtype != data.dtype:
            faults.append(
                f"{key} must be like data, {data.dtype} of shape (n, {as_size(data.shape[1:])}), "
                f"got {array.dtype} of shape {as_size(array.shape)}"
            )
    if faults:
        raise DataError(*faults)
    converted = _convert(given)
    for key, array in converted.items():
        if wrong := array.size - int(np.isfinite(array).sum()):
            faults.append(
                f"{key} must be finite as float32, got {wrong} values that are not: replace them"
            )
    with collecting(faults):
        place = _channel_axis(data.shape, dims, channels)
        converted = {
            key: np.expand_dims(array, 1) if place is None else np.moveaxis(array, place, 1)
            for key, array in converted.items()
        }
        n_channels, *size = converted["data"].shape[1:]
        if n_channels < 1 or min(size) < MIN_SIDE:
            faults.append(
                f"examples must have a channel and at least {MIN_SIDE} values an axis, got "
                f"{n_channels} channels of size {as_size(size)}: see --dims and --channels"
            )
    if faults:
        raise DataError(*faults)
    return {key: torch.from_numpy(np.ascontiguousarray(a)) for key, a in converted.items()}


def _convert(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """To uint8 where all arrays are booleans or whole numbers in 0…255, else to float32."""
    first, *_ = arrays.values()
    if first.dtype.kind == "b":
        return {key: array.astype(np.uint8) * np.uint8(255) for key, array in arrays.items()}
    whole = first.dtype.kind in "iu"
    if whole and all(a.size == 0 or (a.min() >= 0 and a.max() <= 255) for a in arrays.values()):
        return {key: array.astype(np.uint8) for key, array in arrays.items()}
    with np.errstate(over="ignore"):  # found as infinite values
        return {key: array.astype(np.float32) for key, array in arrays.items()}


def _channel_axis(shape: tuple[int, ...], dims: int | None, channels: str | None) -> int | None:
    """Which axis of `data` holds the channels; None if none does."""
    axes = len(shape) - 1
    if channels is None:
        if axes == dims or (dims is None and axes < 3):
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
        asked = f"{dims} with dims={dims}" if dims else "1, 2 or 3"
        raise DataError(
            f"data of shape {as_size(shape)} must have {asked} spatial axes beside examples and "
            f"channels ({channels}), has {found}: see --dims and --channels"
        )
    return {"none": None, "first": 1, "last": axes}[channels]


def read_labels(arrays: Arrays) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Names of the classes, and the labels of each split.

    Raises:
        DataError: They do not fit the examples or each other; all faults of them.
    """
    faults: list[str] = []
    keys = {"train": ("data", "labels"), "test": ("test_data", "test_labels")}
    given = {split: (arrays[d], arrays[k], k) for split, (d, k) in keys.items() if k in arrays}
    for data, labels, key in given.values():
        if labels.dtype.kind not in "iu":
            faults.append(f"{key} must be integers, got dtype {labels.dtype}")
        elif labels.shape != data.shape[:1]:
            faults.append(
                f"{key} must have one axis of {as_size(data.shape[:1])}, a label an example, got "
                f"shape {as_size(labels.shape)}"
            )
        elif labels.size and labels.min() < 0:
            faults.append(f"{key} must be at least 0, got {labels.min()}")
    with collecting(faults):
        names = _class_names(arrays["classes"]) if "classes" in arrays else None
    if faults:
        raise DataError(*faults)

    present = np.unique(arrays["labels"])
    if names is None:
        gaps = np.flatnonzero(present != np.arange(len(present)))
        if gaps.size:
            raise DataError(
                f"labels must be 0, 1, 2, ... without gaps, got {present[gaps[0]]} but no "
                f"{gaps[0]}: renumber them, or name all classes under 'classes'"
            )
        names = tuple(map(str, present))
    for _, labels, key in given.values():
        if labels.size and labels.max() >= len(names):
            faults.append(
                f"{key} must be below the number of classes, {len(names)}, got {labels.max()}"
            )
    if faults:
        raise DataError(*faults)
    tensors = {
        split: torch.from_numpy(labels.astype(np.int64)) for split, (_, labels, _) in given.items()
    }
    check_classes(names, tensors, "add examples or leave the class out")
    return names, tensors


def _class_names(classes: NDArray[Any]) -> tuple[str, ...]:
    if classes.dtype.kind not in "Uiu" or classes.ndim != 1:
        raise DataError(
            f"classes must be one axis of names, got dtype {classes.dtype} of shape "
            f"{as_size(classes.shape)}"
        )
    names = tuple(map(str, classes))
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"classes must differ, got {', '.join(map(repr, twice))} more than once")
    return names
