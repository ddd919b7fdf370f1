"""Arrays of an ``.npz`` file, which may be damaged or made to do harm.

Nothing is unpacked to the disk, and no Python object is made. What an array would take is looked at
before it is read: it must be what the archive says, and fit in memory.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from smash.errors import DataError
from smash.runtime.device import main_memory

_SUFFIX = ".npy"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes
_MOST_EXPANDED = 1040  # times; deflate can do no more
_ENCRYPTED = 1


@dataclass(frozen=True)
class Contents:
    """What an archive holds.

    Attributes:
        names: Names of all arrays.
        arrays: Those that were asked for, by name.
        faults: Why some of those asked for cannot be read, one sentence each.
    """

    names: set[str]
    arrays: dict[str, NDArray[Any]]
    faults: list[str]


def read_npz(path: Path, keys: Iterable[str]) -> Contents:
    """Reads some arrays of an archive.

    Args:
        path: The file.
        keys: Names of the arrays; those that are not there are left out.

    Raises:
        DataError: It is no such archive, or one that takes more memory than there is.
    """
    if not zipfile.is_zipfile(path):
        raise DataError("it must be an .npz archive, and is none: write it with numpy.savez")
    wanted = set(keys)
    arrays: dict[str, NDArray[Any]] = {}
    faults: list[str] = []
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            _check_size([info for name, info in members.items() if name in wanted])
            for name in sorted(wanted & members.keys()):
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", UserWarning)  # of files of Python 2
                        arrays[name] = _read(archive, members[name])
                except Exception as error:  # what a damaged file leads NumPy or zlib to
                    faults.append(unreadable(name, error))
    except (DataError, OSError):
        raise
    except Exception as error:  # likewise
        reason = " ".join(str(error).split())
        raise DataError(f"it must be a whole .npz archive ({reason}): write it again") from None
    return Contents(set(members), arrays, faults)


def unreadable(name: str, error: Exception) -> str:
    """The fault of an array that cannot be read."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{name} must be a plain array, and cannot be read ({reason})"


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by name, without their suffix."""
    members: dict[str, zipfile.ZipInfo] = {}
    faults = []
    for info in archive.infolist():
        place = PurePosixPath(info.filename.replace("\\", "/"))
        name = info.filename.removesuffix(_SUFFIX)
        if place.is_absolute() or ".." in place.parts:
            faults.append(f"names must not lead out of the archive, got {info.filename!r}")
        if name in members:
            faults.append(f"names must differ, got {info.filename!r} more than once")
        if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
            faults.append(f"{info.filename!r} must be stored or deflated, as NumPy writes it")
        if info.file_size > _MOST_EXPANDED * (info.compress_size + 1):
            faults.append(
                f"{info.filename!r} must be whole: {info.compress_size:,} bytes cannot be "
                f"{info.file_size:,}"
            )
        members[name] = info
    if faults:
        raise DataError(*faults[:10])
    return members


def _check_size(infos: Iterable[zipfile.ZipInfo]) -> None:
    memory, size = main_memory(), sum(info.file_size for info in infos)
    if memory is not None and size > memory:
        raise DataError(
            f"arrays must fit in memory, and take {size / 2**30:,.1f} GiB of "
            f"{memory / 2**30:,.1f}: take fewer examples, or save them as images"
        )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as file:
        needed = _announced(file)
        if needed != info.file_size:
            raise ValueError(f"it says that it has {needed:,} bytes, and has {info.file_size:,}")
    with archive.open(info) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _announced(file: IO[bytes]) -> int:
    """How many bytes an array says that it has, with its header."""
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
