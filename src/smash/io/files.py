"""Atomic file IO: files that survive a kill, a power cut, a full disk and a hostile folder.

A file is written to a temporary name, synced and renamed, and its folder is synced. Lines are
appended and synced; readers ignore a last line that a kill cut off, and the next writer removes it.
Nothing is written through a symbolic link, and only regular files are read, in bounded parts.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import IO, Any, get_args, get_origin

from smash.errors import RunStateError, SmashError

_MAX_BYTES = 2**26  # of a JSON or TOML file, or a JSON line
_ABANDONED = 3600  # seconds after which the writer of a temporary file is gone
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
_MAX_FAULTS = 10  # entries of a folder that a message names
_STUDY_LOCK = ".journal.lock"  # Optuna locks a journal by a link, and writes nothing through it
# Flags that not every system has.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a whole file or, on an error or a power cut, leaves the previous one.

    Raises:
        OSError: The file cannot be written; the error names `path`.
    """
    with replacing(path) as file, named_errors(path):
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Opens a new file that takes the place of `path` once it is complete and on the disk.

    On an error or a power cut, the previous file is left.

    Raises:
        OSError: The file cannot be made or renamed; the error names `path`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with named_errors(path):
            file = temporary.open("x+b")  # fails if the name exists, even as a link
        try:
            yield file
            with named_errors(path):
                file.flush()
                os.fsync(file.fileno())
        finally:
            with named_errors(path):  # closing writes what is left
                file.close()
        with named_errors(path):
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):  # on a read-only disk there is no file to remove
            temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Makes a folder and its parents, and syncs them to the disk."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def sync_folder(path: Path) -> None:
    """Syncs the names in a folder to the disk; a power cut could otherwise undo a rename."""
    if os.name == "nt":  # Windows syncs names itself and cannot open a folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def remove_abandoned(folder: Path) -> None:
    """Removes temporary files that killed processes left in a folder."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):  # another process may have removed it
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink(missing_ok=True)


def append(path: Path, lines: str) -> None:
    """Appends lines to a file and syncs them to the disk.

    Only one process may append at a time; see `smash.io.locks`.

    Args:
        path: The file, which is created if it does not exist.
        lines: Whole lines, each with its line end.

    Raises:
        RunStateError: The path is a link or no regular file.
        OSError: The lines cannot be written; the file is unchanged, and the error names it.
    """
    is_new = not path.exists()
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | _NO_LINK | _BINARY
    with named_errors(path), os.fdopen(_open(path, flags), "r+b", buffering=0) as file:
        end = _end_of_lines(file)
        file.truncate(end)
        remaining = memoryview(lines.encode())
        try:
            while remaining:
                remaining = remaining[file.write(remaining) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise
        if is_new:
            sync_folder(path.parent)


def read_lines(path: Path, remedy: str) -> Iterator[dict[str, Any]]:
    """Reads a file of JSON objects, one a line, and ignores an unfinished last line.

    The file may hold any number of lines, so they are read one by one.

    Args:
        path: The file; a missing file has no lines.
        remedy: What to do about a damaged file, for the message.

    Raises:
        RunStateError: The file is damaged.
    """
    if not path.exists():
        return
    with os.fdopen(_open(path, os.O_RDONLY | _BINARY), "rb") as file:
        number = 0
        while (line := file.readline(_MAX_BYTES + 1)).endswith(b"\n"):
            number += 1
            try:
                row = parse_json(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise RunStateError(f"{path} is damaged in line {number}: {remedy}")
            yield row
    if len(line) > _MAX_BYTES:
        raise RunStateError(
            f"{path}, line {number + 1} must be at most {_MAX_BYTES:,} bytes: {remedy}"
        )


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON atomically."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        RunStateError: The file is damaged or holds no object.
    """
    try:
        value = parse_json(_read(path, "restore it, or remove the folder that it belongs to"))
    except ValueError as error:
        raise RunStateError(f"{path} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise RunStateError(f"{path} is damaged: it must hold an object, got {value!r:.60}")
    return value


def read_text(path: Path) -> str:
    """Reads a small UTF-8 file.

    Raises:
        RunStateError: The file is not UTF-8, too large or no regular file.
    """
    try:
        return _read(path, "restore it").decode()
    except UnicodeDecodeError as error:
        raise RunStateError(f"{path} is damaged: {error}") from None


def parse_json(text: str | bytes) -> Any:
    """Parses JSON.

    Raises:
        ValueError: The text is not JSON or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def require(value: Mapping[str, Any], path: Path, /, **kinds: Any) -> None:
    """Checks that an object from a file has the required entries.

    Args:
        value: The object.
        path: The file, for the message.
        **kinds: The type of each entry by name: a type, a tuple of types, or ``list[...]``.

    Raises:
        RunStateError: Entries are missing or have another type; names all of them.
    """
    faults = [
        f"{path} is damaged: {name!r} is missing"
        if name not in value
        else f"{path} is damaged: {name!r} is {value[name]!r:.60}"
        for name, kind in kinds.items()
        if not _is(value.get(name), kind)
    ]
    if faults:
        raise RunStateError(*faults)


def _is(value: object, kind: Any) -> bool:
    if get_origin(kind) is list:
        (inner,) = get_args(kind)
        return isinstance(value, list) and all(_is(each, inner) for each in value)
    return isinstance(value, kind)


def check_entries(folder: Path, depth: int = 1) -> None:
    """Checks that a folder of a run holds nothing but regular files and folders.

    A link could lead a writer out of the folder, and a pipe could make a reader wait for ever.

    Args:
        folder: The folder, which may be a link itself.
        depth: How many levels of folders are looked at.

    Raises:
        RunStateError: Names the first entries that are neither.
    """
    faults = sorted(_irregular(folder, depth))
    if faults:
        raise RunStateError(*faults[:_MAX_FAULTS])


def _irregular(folder: Path, depth: int) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if depth > 1:
                    with suppress(FileNotFoundError):  # a temporary folder that is gone by now
                        yield from _irregular(Path(entry.path), depth - 1)
            elif not entry.is_file(follow_symlinks=False) and not entry.name.endswith(_STUDY_LOCK):
                kind = "a link" if entry.is_symlink() else "no regular file"
                yield f"{entry.path} is {kind}, which a run folder may not hold: remove it"


def check_regular(path: Path, descriptor: int | None = None) -> None:
    """Checks that a path, or what was opened at it, is a regular file.

    Args:
        path: The path.
        descriptor: The open file.

    Raises:
        RunStateError: It is a folder, a pipe or a device.
        OSError: It does not exist.
    """
    mode = (path.stat() if descriptor is None else os.fstat(descriptor)).st_mode
    if not stat.S_ISREG(mode):
        raise RunStateError(f"{path} must be a regular file: remove it, or restore the file")


def _read(path: Path, remedy: str) -> bytes:
    with os.fdopen(_open(path, os.O_RDONLY | _BINARY), "rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise RunStateError(
            f"{path} must be at most {_MAX_BYTES:,} bytes, got {path.stat().st_size:,}: {remedy}"
        )
    return content


def _open(path: Path, flags: int) -> int:
    """Opens a regular file, and never waits for the other end of a pipe."""
    try:
        descriptor = os.open(path, flags | _NO_WAIT, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP and flags & _NO_LINK:
            raise RunStateError(f"{path} is a link and is not written to: remove it") from None
        raise
    try:
        check_regular(path, descriptor)
    except RunStateError:
        os.close(descriptor)
        raise
    return descriptor


def _end_of_lines(file: FileIO) -> int:
    """Finds where the last whole line ends, in bytes."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Re-raises `OSError` with the name of the target file; errors of this package are kept."""
    try:
        yield
    except SmashError:
        raise
    except OSError as error:
        message = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, message, str(path)) from None
