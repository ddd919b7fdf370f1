"""Conversion of the published meshes of ModelNet to voxels for `smash.data.sources.modelnet`.

A voxel is set where the surface of the object passes through it, except for corners of voxels that
the surface only clips; the inside stays empty. As in the published voxels, an object is rotated
about its vertical axis (z, counter-clockwise seen from above) by 0°, 15°, … 345°, and each rotated
object is scaled uniformly to fill the longest axis of the grid, and centred along the others.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from smash.data.sources.modelnet import MODELNET10, MODELNET40, ROTATIONS, file_name
from smash.errors import AlreadyExistsError, DataError, MissingExtraError, NotFoundError, shortened
from smash.io.files import replacing
from smash.runtime.progress import Advance, Progress, silent

SIZE = 32
"""Voxels along each axis."""

_POINTS_PER_VOXEL = 4  # along an axis; fewer would miss more than clipped corners
_POINT_BATCH = 2**19
_FILE_BATCH = 8
_SPLITS = ("train", "test")

Mapping = Callable[..., Iterable[Any]]


def prepare_modelnet(
    folder: str | Path,
    out: str | Path,
    *,
    processes: int | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Converts the meshes of ModelNet10 or ModelNet40 to the files that `load_data` reads.

    Args:
        folder: The published folder, with ``CLASS/train/*.off`` and ``CLASS/test/*.off`` for each
            class; the classes tell which of the two data sets it is.
        out: Folder to write to, which is made if necessary.
        processes: Number of processes; one per core if None. With more than one, a script must
            call this under ``if __name__ == "__main__"``.
        progress: Shows the progress.

    Returns:
        The files of the training and of the test split.

    Raises:
        MissingExtraError: trimesh is not installed.
        NotFoundError: The folder does not exist.
        AlreadyExistsError: A file would be overwritten.
        DataError: The folder is not laid out so, or meshes cannot be used; all faults.
    """
    _trimesh()
    folder, out = Path(folder), Path(out)
    classes = _classes(folder)
    meshes = {split: _meshes(folder, classes, split) for split in _SPLITS}
    paths = {split: out / file_name(classes, split) for split in _SPLITS}
    if present := [path for path in paths.values() if path.exists()]:
        raise AlreadyExistsError(
            *(f"{path} already exists: move it, or choose another --out" for path in present)
        )
    out.mkdir(parents=True, exist_ok=True)
    total, done = sum(map(len, meshes.values())), 0
    faults: list[str] = []
    with ExitStack() as opened:
        written = {split: opened.enter_context(replacing(path)) for split, path in paths.items()}
        with _mapping(processes) as mapped, progress("voxelise", total) as advance:
            for split, files in meshes.items():
                labels = np.array([label for _, label in files], dtype=np.uint8)
                results = mapped(_packed, [path for path, _ in files])
                rows = _unpacked(results, faults, partial(_advance, advance, done))
                _write(written[split], rows, np.repeat(labels, ROTATIONS))
                done += len(files)
        if faults:
            raise DataError(*shortened(faults))
    return list(paths.values())


def voxelise(path: Path) -> NDArray[np.bool_]:
    """Computes the voxels of a mesh in all rotations, shape ``(24, 32, 32, 32)``, axes x, y, z.

    Raises:
        DataError: The mesh has no surface.
    """
    mesh = _trimesh().load_mesh(path, process=False)
    triangles = np.asarray(mesh.triangles, dtype=np.float64)
    corners = np.asarray(mesh.vertices, dtype=np.float64)[np.unique(mesh.faces)]
    if not len(corners) or not np.isfinite(corners).all() or not np.ptp(corners, axis=0).any():
        raise DataError(
            f"it must have faces with finite corners and an extent, has {len(triangles):,} faces"
        )
    angles = 2 * np.pi * np.arange(ROTATIONS) / ROTATIONS
    rotated = [_rotate(corners, angle) for angle in angles]
    centres = [(points.min(0) + points.max(0)) / 2 for points in rotated]
    extents = [np.ptp(points, axis=0).max() for points in rotated]
    voxels = np.zeros((ROTATIONS, SIZE, SIZE, SIZE), dtype=bool)
    for points in (corners, *_surface(triangles, min(extents) / SIZE / _POINTS_PER_VOXEL)):
        for number, angle in enumerate(angles):
            places = (_rotate(points, angle) - centres[number]) / extents[number] * SIZE + SIZE / 2
            # Rounding puts points between two voxels on the same side on all machines.
            x, y, z = np.floor(np.round(places, 6)).astype(np.int64).clip(0, SIZE - 1).T
            voxels[number, x, y, z] = True
    return voxels


def _surface(triangles: NDArray[np.float64], spacing: float) -> Iterator[NDArray[np.float64]]:
    """Samples points on all triangles larger than `spacing`, in batches.

    The points lie on lines parallel to the longest side, at most `spacing` apart on a line and
    between lines. Subdividing faces until all edges are short, as trimesh does, would make
    thousands of faces of a long thin one, and these are common in the meshes.

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
    # Lines from the base to just below the apex, which is a corner and sampled already.
    lines = np.ceil(height / spacing).astype(np.int64).clip(1)
    on_line = np.ceil(length / spacing).astype(np.int64) + 1
    ends = np.cumsum(lines * on_line)
    begin = 0
    while begin < len(large):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _POINT_BATCH, "right")))
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
            "reading meshes needs trimesh, which is not installed: pip install 'smash-nas[mesh]'"
        ) from None
    return trimesh


def _classes(folder: Path) -> tuple[str, ...]:
    """Determines the classes of the data set in a folder."""
    if not folder.is_dir():
        raise NotFoundError(
            f"{folder} must be the folder of ModelNet10 or ModelNet40: it does not exist"
        )
    names = {entry.name for entry in folder.iterdir() if entry.is_dir()}
    classes = MODELNET10 if len(names & set(MODELNET40)) <= len(MODELNET10) else MODELNET40
    if missing := [name for name in classes if name not in names]:
        raise DataError(
            f"{folder} must have a folder for each of the {len(classes)} classes of "
            f"ModelNet{len(classes)}, lacks {', '.join(missing)}: unpack the published archive and "
            "name the folder right above its classes"
        )
    return classes


def _meshes(folder: Path, classes: tuple[str, ...], split: str) -> list[tuple[Path, int]]:
    """Lists the meshes of a split and their labels, sorted by name."""
    found = {name: sorted((folder / name / split).glob("*.off")) for name in classes}
    if empty := [str(folder / name / split) for name, files in found.items() if not files]:
        raise DataError(*shortened(f"{place} must have .off files, has none" for place in empty))
    return [(file, label) for label, name in enumerate(classes) for file in found[name]]


def _rotate(points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Rotates points, shape ``(n, 3)``, about the z axis by an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = points.T
    return np.stack([x * cos - y * sin, x * sin + y * cos, z], axis=1)


def _packed(path: Path) -> NDArray[np.uint8] | str:
    """Computes the voxels of a mesh, packed eight to a byte, or a fault."""
    try:
        return np.packbits(voxelise(path))
    except Exception as error:  # readers raise anything on a damaged file
        return f"{path} cannot be used ({' '.join(str(error).split())}): get it again, or remove it"


def _unpacked(
    results: Iterable[Any], faults: list[str], advance: Callable[[int], None]
) -> Iterator[NDArray[np.uint8]]:
    """Unpacks voxels; a mesh with a fault becomes empty, so that the count stays right."""
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
    """Gives a `map` that keeps the order and works in several processes."""
    count = processes or os.cpu_count() or 1
    if count == 1:
        yield map
        return
    # Not forked from this process, because a fork may hang where threads compute.
    method = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
    pool = ProcessPoolExecutor(count, mp_context=get_context(method))
    try:
        yield partial(pool.map, chunksize=_FILE_BATCH)
    finally:
        pool.shutdown(cancel_futures=True)


def _write(file: IO[bytes], rows: Iterable[NDArray[np.uint8]], labels: NDArray[np.uint8]) -> None:
    """Writes an ``.npz`` object by object, because all voxels of ModelNet40 fill 8 GB."""
    shape = (len(labels), 1, SIZE, SIZE, SIZE)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("features.npy", "w", force_zip64=True) as features:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(features, header)
            for voxels in rows:
                features.write(voxels.data)
        with archive.open("targets.npy", "w") as targets:
            np.lib.format.write_array(targets, labels)
