"""ModelNet10 and ModelNet40 (Wu et al. 2015) as voxels, each object in 24 rotations.

The files are ``modelnet40_rot24_train.npz`` and ``modelnet40_rot24_test.npz`` (or
``modelnet10_…``), with ``features`` and ``targets``, or ``data`` and ``labels``. Voxels are 0 or 1,
in the published files of 32³, with axes x, y, z of which z is vertical. The 24 rotations of an
object about the vertical axis, 15° apart and starting at 0°, follow one another: N·24×1×32³ (as
published by Brock et al. 2016, arXiv 1608.04236), N·24×32³ or N×24×32³. There is a label for each
object or for each rotation, in the order of the sorted names.

An object is one example with 24 views, see `Split`. `smash.data.sources.voxelize` makes the files
from meshes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smash.data.dataset import MIN_SIDE, Source, Split
from smash.data.sources.files import data_folder, find_files, missing_files, read_array
from smash.data.splits import check_classes
from smash.errors import DataError, collecting
from smash.io.text import as_size

ROTATIONS = 24
"""Views per object, evenly spaced about the vertical axis."""

MODELNET10 = (
    *("bathtub", "bed", "chair", "desk", "dresser"),
    *("monitor", "night_stand", "sofa", "table", "toilet"),
)
MODELNET40 = (
    *("airplane", "bathtub", "bed", "bench", "bookshelf", "bottle", "bowl", "car", "chair"),
    *("cone", "cup", "curtain", "desk", "door", "dresser", "flower_pot", "glass_box", "guitar"),
    *("keyboard", "lamp", "laptop", "mantel", "monitor", "night_stand", "person", "piano"),
    *("plant", "radio", "range_hood", "sink", "sofa", "stairs", "stool", "table", "tent"),
    *("toilet", "tv_stand", "vase", "wardrobe", "xbox"),
)

_WHERE = (
    "make them from the meshes of https://modelnet.cs.princeton.edu with 'smash data prepare "
    "modelnet FOLDER --out DIR'"
)


def read_modelnet10(data_dir: str | Path | None = None) -> Source:
    """Reads ModelNet10: 4,899 objects, 10 classes."""
    return read_modelnet(MODELNET10, data_dir)


def read_modelnet40(data_dir: str | Path | None = None) -> Source:
    """Reads ModelNet40: 12,311 objects, 40 classes."""
    return read_modelnet(MODELNET40, data_dir)


def file_name(classes: tuple[str, ...], split: str) -> str:
    """Names the file of a split, ``train`` or ``test``."""
    return f"modelnet{len(classes)}_rot{ROTATIONS}_{split}.npz"


def read_modelnet(classes: tuple[str, ...], data_dir: str | Path | None) -> Source:
    """Reads voxels.

    Args:
        classes: `MODELNET10` or `MODELNET40`.
        data_dir: The folder of the files, or the folder above it if it has the data set's name; see
            `data_folder`.

    Raises:
        DataError: Files are missing, or hold something else; all faults.
    """
    name, folder = f"modelnet{len(classes)}", data_folder(data_dir)
    names = {split: file_name(classes, split) for split in ("train", "test")}
    paths = find_files([folder, folder / name], names.values())
    if missing := [file for file in names.values() if file not in paths]:
        raise missing_files(name, folder, missing, _WHERE)
    splits: dict[str, Split] = {}
    faults: list[str] = []
    for split, file in names.items():
        with collecting(faults):
            splits[split] = _split(paths[file], len(classes))
    if faults:
        raise DataError(*faults)
    sizes = {split: tuple(found.stored.shape[2:]) for split, found in splits.items()}
    if sizes["train"] != sizes["test"]:
        raise DataError(
            f"{paths[names['test']]} must have voxels of size {as_size(sizes['train'])}, like the "
            f"training split, got {as_size(sizes['test'])}: make both files alike"
        )
    labels = {split: found.labels for split, found in splits.items()}
    check_classes(classes, labels, "get the whole data set")
    return Source(
        classes=classes,
        splits=splits,
        notes=(f"each object has {ROTATIONS} views, its rotations about the vertical axis",),
    )


def _split(path: Path, classes: int) -> Split:
    voxels = _voxels(path)
    labels = _labels(path, len(voxels), classes)
    return Split(torch.from_numpy(voxels), torch.from_numpy(labels), ROTATIONS)


def _voxels(path: Path) -> NDArray[np.uint8]:
    """Reads voxels as 0 or 255, shape ``(n · 24, 1, side, side, side)``."""
    voxels = read_array(path, "features", "data")
    *before, side, _, _ = voxels.shape if voxels.ndim > 3 else (0, 0, 0, 0)
    rows = int(np.prod(before)) if before[1:] in ([], [1], [ROTATIONS]) else 0
    if voxels.shape[-3:] != (side,) * 3 or side < MIN_SIDE or not rows or rows % ROTATIONS:
        raise DataError(
            f"{path}: voxels must have the shape Nx1xSxSxS, N a multiple of {ROTATIONS} and S at "
            f"least {MIN_SIDE}, got {as_size(voxels.shape)}"
        )
    if voxels.dtype.kind not in "bui" or voxels.min() < 0 or voxels.max() > 1:
        raise DataError(
            f"{path}: voxels must be booleans, or integers that are 0 or 1, got {voxels.dtype} "
            f"from {voxels.min()} to {voxels.max()}"
        )
    voxels = voxels.astype(np.uint8, copy=False).reshape(rows, 1, side, side, side)
    return np.multiply(voxels, 255, out=voxels)


def _labels(path: Path, rows: int, classes: int) -> NDArray[np.int64]:
    """Reads the labels of objects, from labels of objects or of their rotations."""
    labels: NDArray[Any] = read_array(path, "targets", "labels")
    objects = rows // ROTATIONS
    if labels.dtype.kind not in "iu" or labels.shape not in ((rows,), (objects,)):
        raise DataError(
            f"{path}: labels must be {rows} integers, one per rotation, or {objects}, one per "
            f"object, got {labels.dtype} of shape {as_size(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"{path}: labels must be from 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
        )
    of_objects = labels.reshape(objects, -1)
    mixed = np.flatnonzero((of_objects != of_objects[:, :1]).any(1))
    if mixed.size:
        raise DataError(
            f"{path}: the {ROTATIONS} rotations of an object must follow one another and have one "
            f"label, got several from row {mixed[0] * ROTATIONS} on"
        )
    return of_objects[:, 0].astype(np.int64)
