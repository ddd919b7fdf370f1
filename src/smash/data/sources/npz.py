"""Arrays of an ``.npz`` archive, which may be damaged or made to do harm.

Nothing is unpacked to the disk, and no Python objects are made. Before an array is read, its size
must agree with that in the archive, and fit in memory.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from smash.errors import DataError, reason_of, shortened
from smash.runtime.memory import main_memory

_SUFFIX = ".npy"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that NumPy writes
_MOST_EXPANDED = 1040  # the largest ratio that deflate can reach
_MOST_MEMBERS = 10_000
_ENCRYPTED = 1


@dataclass(frozen=True)
class Contents:
    """Arrays read from an archive.

    Attributes:
        names: Names of all arrays in the archive.
        arrays: The arrays that were read, by name.
        faults: One line for each array that cannot be read.
    """

    names: set[str]
    arrays: dict[str, NDArray[Any]]
    faults: list[str]


def read_npz(path: Path, keys: Iterable[str]) -> Contents:
    """Reads some arrays of an archive.

    Args:
        path: The file.
        keys: Names of the arrays; those that do not exist are left out.

    Raises:
        DataError: The file is not such an archive, or takes more memory than there is.
    """
    wanted = set(keys)
    arrays: dict[str, NDArray[Any]] = {}
    faults: list[str] = []
    with _opened(path) as (archive, members):
        _check_size([info for name, info in members.items() if name in wanted])
        for name in sorted(wanted & members.keys()):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # about files of Python 2
                    arrays[name] = _read(archive, members[name])
            except Exception as error:  # NumPy and zlib raise anything on a damaged file
                faults.append(unreadable(name, error))
    return Contents(set(members), arrays, faults)


def member_names(path: Path) -> list[str]:
    """Lists the names of the arrays in an archive.

    Raises:
        DataError: The file is not such an archive.
    """
    with _opened(path) as (_, members):
        return list(members)


def unreadable(name: str, error: Exception) -> str:
    """Words the fault of an array that cannot be read."""
    reason = reason_of(error) or type(error).__name__
    return f"{name} must be a plain array, but cannot be read ({reason})"


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Opens an archive, and lists its members by name without the suffix."""
    if not zipfile.is_zipfile(path):
        raise DataError("it is not an .npz archive: write it with numpy.savez")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive, _members(archive)
    except (DataError, OSError):
        raise
    except Exception as error:  # zipfile raises anything on a damaged file
        raise DataError(
            f"it is a damaged .npz archive ({reason_of(error)}): write it again"
        ) from None


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > _MOST_MEMBERS:
        raise DataError(f"it must have at most {_MOST_MEMBERS:,} arrays, has {len(infos):,}")
    members: dict[str, zipfile.ZipInfo] = {}
    faults = []
    for info in infos:
        path = PurePosixPath(info.filename.replace("\\", "/"))
        name = info.filename.removesuffix(_SUFFIX)
        if path.is_absolute() or ".." in path.parts:
            faults.append(f"names must not lead out of the archive, got {info.filename!r:.200}")
        if name in members:
            faults.append(f"names must differ, got {info.filename!r:.200} more than once")
        if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
            faults.append(f"{info.filename!r:.200} must be stored or deflated, as NumPy writes it")
        if info.file_size > _MOST_EXPANDED * (info.compress_size + 1):
            faults.append(
                f"{info.filename!r:.200} is damaged: {info.compress_size:,} bytes cannot expand to "
                f"{info.file_size:,}"
            )
        members[name] = info
    if faults:
        raise DataError(*shortened(faults))
    return members


def _check_size(infos: Iterable[zipfile.ZipInfo]) -> None:
    memory, size = main_memory(), sum(info.file_size for info in infos)
    if memory is not None and size > memory:
        raise DataError(
            f"arrays must fit in memory, but take {size / 2**30:,.1f} GiB of "
            f"{memory / 2**30:,.1f}: use fewer examples, or save them as images"
        )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as file:
        size = _size_in_header(file)
        if size != info.file_size:
            raise ValueError(f"its header announces {size:,} bytes, but it has {info.file_size:,}")
    with archive.open(info) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _size_in_header(file: IO[bytes]) -> int:
    """Computes the size of an array, with its header, from the header; in bytes."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"its version {version} is not known")
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded (allow_pickle=False)")
    size = dtype.itemsize
    for extent in shape:
        if extent < 0:
            raise ValueError(f"its shape is {shape}")
        size *= extent
    return file.tell() + size
