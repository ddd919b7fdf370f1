"""From the published meshes of ModelNet to the voxels that `smash.data.sources.modelnet` reads.

A voxel is set where the surface of the object passes through it, but for corners of voxels that it
only clips; the inside stays empty. As in the
published voxels, an object is turned about its vertical axis (z, counter-clockwise seen from above)
by 0°, 15°, … 345°, and each of the turned objects is scaled, alike along all axes, to fill the
longest axis of the grid. Along the other axes it is centred.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smash.data.sources.modelnet import MODELNET10, MODELNET40, ROTATIONS, file_name
from smash.errors import AlreadyExistsError, DataError, MissingExtraError, NotFoundError, shortened
from smash.runtime.progress import Advance, Progress, silent

SIZE = 32
"""Voxels along each axis."""

_POINTS_A_VOXEL = 4  # along an axis: what a surface only clips may be passed over, and no more
_POINTS_AT_ONCE = 2**19
_FILES_AT_ONCE = 8
_SPLITS = ("train", "test")

Mapping = Callable[..., Iterable[Any]]


def prepare_modelnet(
    folder: str | Path,
    out: str | Path,
    *,
    processes: int | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Makes the files of ModelNet10 or ModelNet40 that `load_data` reads, from the meshes.

    Args:
        folder: The published folder, with ``CLASS/train/*.off`` and ``CLASS/test/*.off`` for each
            class; its classes say which of the two data sets it is.
        out: Folder to write to; it is made where it is not there.
        processes: How many work side by side; one a processor core where None. More than one are
            new interpreters, which a script starts only under ``if __name__ == "__main__"``.
        progress: Shows how far it is.

    Returns:
        The files of the training and of the test split.

    Raises:
        MissingExtraError: trimesh is not installed.
        NotFoundError: There is no such folder.
        AlreadyExistsError: A file would be overwritten.
        DataError: The folder is not laid out so, or meshes cannot be used; all faults of it.
    """
    _trimesh()
    folder, out = Path(folder), Path(out)
    classes = _classes(folder)
    meshes = {split: _meshes(folder, classes, split) for split in _SPLITS}
    paths = {split: out / file_name(classes, split) for split in _SPLITS}
    if present := [path for path in paths.values() if path.exists()]:
        raise AlreadyExistsError(
            *(f"{path} is there and is kept: move it, or choose another --out" for path in present)
        )
    out.mkdir(parents=True, exist_ok=True)
    unfinished = {split: path.with_name(f".{path.name}.tmp") for split, path in paths.items()}
    total, done = sum(map(len, meshes.values())), 0
    faults: list[str] = []
    try:
        with _mapping(processes) as mapped, progress("voxelise", total) as advance:
            for split, files in meshes.items():
                labels = np.array([label for _, label in files], dtype=np.uint8)
                results = mapped(_packed, [path for path, _ in files])
                rows = _unpacked(results, faults, partial(_advance, advance, done))
                _write(unfinished[split], rows, np.repeat(labels, ROTATIONS))
                done += len(files)
        if faults:
            raise DataError(*shortened(faults))
        for split, path in unfinished.items():
            path.replace(paths[split])
    finally:
        for path in unfinished.values():
            path.unlink(missing_ok=True)
    return list(paths.values())


def voxelise(path: Path) -> NDArray[np.bool_]:
    """Voxels of a mesh in all rotations, shape ``(24, 32, 32, 32)``, with axes x, y, z.

    Raises:
        DataError: The mesh has no surface.
    """
    mesh = _trimesh().load_mesh(path, process=False)
    triangles = np.asarray(mesh.triangles, dtype=np.float64)
    corners = np.asarray(mesh.vertices, dtype=np.float64)[np.unique(mesh.faces)]
    if not len(corners) or not np.isfinite(corners).all() or not np.ptp(corners, axis=0).any():
        raise DataError(
            f"its faces must have finite corners and an extent, it has {len(triangles)} faces"
        )
    angles = 2 * np.pi * np.arange(ROTATIONS) / ROTATIONS
    turned = [_turned(corners, angle) for angle in angles]
    centres = [(points.min(0) + points.max(0)) / 2 for points in turned]
    extents = [np.ptp(points, axis=0).max() for points in turned]
    voxels = np.zeros((ROTATIONS, SIZE, SIZE, SIZE), dtype=bool)
    for points in (corners, *_surface(triangles, min(extents) / SIZE / _POINTS_A_VOXEL)):
        for number, angle in enumerate(angles):
            places = (_turned(points, angle) - centres[number]) / extents[number] * SIZE + SIZE / 2
            # Rounded, so that points on the border of two voxels fall on the same side everywhere.
            x, y, z = np.floor(np.round(places, 6)).astype(np.int64).clip(0, SIZE - 1).T
            voxels[number, x, y, z] = True
    return voxels


def _surface(triangles: NDArray[np.float64], spacing: float) -> Iterator[NDArray[np.float64]]:
    """Points on all triangles that are larger than `spacing`, some of them at a time.

    They stand on lines along the longest side, no farther apart than `spacing`, on the line and
    from line to line. Dividing faces until all of their edges are short, as trimesh does, makes a
    thousand faces of a long and thin one, and such are common in these meshes.

    Args:
        triangles: Shape ``(n, 3, 3)``: triangle, corner, coordinate.
        spacing: In units of the coordinates.

    Yields:
        Points, shape ``(m, 3)``.
    """
    sides = np.roll(triangles, -1, axis=1) - triangles
    lengths = np.linalg.norm(sides, axis=2)
    large = np.flatnonzero(lengths.max(1) > spacing)
    first = lengths[large].argmax(1)
    start, base = triangles[large, first], sides[large, first]
    length = lengths[large, first]
    to_apex = triangles[large, (first + 2) % 3] - start
    height = np.linalg.norm(np.cross(base, to_apex), axis=1) / length
    # Lines from the base to just below the apex, which is a corner, and points on each of them.
    lines = np.ceil(height / spacing).astype(np.int64).clip(1)
    on_line = np.ceil(length / spacing).astype(np.int64) + 1
    ends = np.cumsum(lines * on_line)
    begin = 0
    while begin < len(large):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _POINTS_AT_ONCE, "right")))
        counts = (lines * on_line)[begin:end]
        which = np.repeat(np.arange(begin, end), counts)
        number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        up = (number // on_line[which] / lines[which])[:, None]
        along = (number % on_line[which] / (on_line[which] - 1))[:, None]
        yield start[which] + up * to_apex[which] + along * (1 - up) * base[which]
        begin = end


def _trimesh() -> ModuleType:
    try:
        import trimesh
    except ImportError:
        raise MissingExtraError(
            "meshes need trimesh, which is not installed: pip install 'smash-nas[mesh]'"
        ) from None
    return trimesh


def _classes(folder: Path) -> tuple[str, ...]:
    """The classes of the data set that `folder` holds."""
    if not folder.is_dir():
        raise NotFoundError(f"{folder} must be the folder of ModelNet10 or ModelNet40, is none")
    names = {entry.name for entry in folder.iterdir() if entry.is_dir()}
    classes = MODELNET10 if len(names & set(MODELNET40)) <= len(MODELNET10) else MODELNET40
    if missing := [name for name in classes if name not in names]:
        raise DataError(
            f"{folder} must have a folder for each of the {len(classes)} classes of "
            f"ModelNet{len(classes)}, has none for {', '.join(missing)}: unpack the published "
            "archive and name the folder right above its classes"
        )
    return classes


def _meshes(folder: Path, classes: tuple[str, ...], split: str) -> list[tuple[Path, int]]:
    """The meshes of a split, in the order of their names, and their labels."""
    found = {name: sorted((folder / name / split).glob("*.off")) for name in classes}
    if empty := [str(folder / name / split) for name, files in found.items() if not files]:
        raise DataError(*shortened(f"{place} must hold .off files, has none" for place in empty))
    return [(file, label) for label, name in enumerate(classes) for file in found[name]]


def _turned(points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Points, shape ``(n, 3)``, turned about the z axis by an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = points.T
    return np.stack([x * cos - y * sin, x * sin + y * cos, z], axis=1)


def _packed(path: Path) -> NDArray[np.uint8] | str:
    """The voxels of a mesh, eight in a byte, or what is wrong with it."""
    try:
        return np.packbits(voxelise(path))
    except Exception as error:  # readers raise whatever a damaged file leads them to
        return f"{path} cannot be used ({' '.join(str(error).split())}): get it again, or remove it"


def _unpacked(
    results: Iterable[Any], faults: list[str], advance: Callable[[int], None]
) -> Iterator[NDArray[np.uint8]]:
    """Voxels again; a mesh with a fault becomes an empty one, so that the count stays right."""
    for done, result in enumerate(results, 1):
        advance(done)
        if isinstance(result, str):
            faults.append(result)
            yield np.zeros(ROTATIONS * SIZE**3, dtype=np.uint8)
        else:
            yield np.unpackbits(result)


def _advance(advance: Advance, before: int, done: int) -> None:
    advance(before + done, "")


@contextmanager
def _mapping(processes: int | None) -> Iterator[Mapping]:
    """A `map` that keeps the order and works in several processes."""
    count = processes or os.cpu_count() or 1
    if count == 1:
        yield map
        return
    # Spawned, because a fork of a process whose threads compute may hang.
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"))
    try:
        yield partial(pool.map, chunksize=_FILES_AT_ONCE)
    finally:
        pool.shutdown(cancel_futures=True)


def _write(path: Path, rows: Iterable[NDArray[np.uint8]], labels: NDArray[np.uint8]) -> None:
    """Writes an ``.npz`` object by object: all voxels of ModelNet40 together fill 8 GB."""
    shape = (len(labels), 1, SIZE, SIZE, SIZE)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("features.npy", "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for voxels in rows:
                file.write(voxels.data)
        with archive.open("targets.npy", "w") as file:
            np.lib.format.write_array(file, labels)
