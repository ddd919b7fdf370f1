"""Files that outlive a kill, a power cut and a full disk: whole or not there at all.

A file is written under a temporary name, synced, renamed, and its folder synced. Lines are added to
a file under a lock of the file, and synced; a last line that a kill left unfinished is passed over
by readers and cut off by the next writer. What is read as JSON cannot run code, and is bounded.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, get_args, get_origin

from smash.errors import NotFoundError, RunStateError

try:
    import fcntl
except ImportError:  # not on every system; there, nothing guards against two writers
    fcntl = None  # type: ignore[assignment]

_MOST_BYTES = 2**26  # of a file of JSON or TOML: all of these are small
_ABANDONED = 3600  # seconds since it was written: whoever wrote it is gone
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all, also after a power cut.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with naming(path):
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):  # where nothing can be written, nothing can be removed either
            temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it, that are still there after a power cut."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def sync_folder(path: Path) -> None:
    """Puts the names in a folder on the disk: a renamed file may else be gone after a power cut."""
    if os.name == "nt":  # which syncs names itself, and opens no folder
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(number)


def remove_abandoned(folder: Path) -> None:
    """Removes the temporary files that killed processes have left in a folder."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):  # another process may have removed it
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink(missing_ok=True)


def append(path: Path, lines: str) -> None:
    """Adds lines to a file; when it returns they are on the disk.

    Args:
        path: The file; it is made where it is not there.
        lines: Whole lines, each with its end.

    Raises:
        OSError: They cannot be written; the file is as it was before.
    """
    made = not path.exists()
    with naming(path), path.open("a+b", buffering=0) as file:
        lock(file.fileno(), wait=True)  # let go when it is closed
        whole = _end_of_lines(file)
        file.truncate(whole)
        left = memoryview(lines.encode())
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(whole)
            raise
        if made:
            sync_folder(path.parent)


def lock(file: int, *, wait: bool) -> bool:
    """Locks an open file against other processes; the system ends that with this process.

    Args:
        file: Its number.
        wait: Whether to wait for another process that has it.

    Returns:
        Whether it is locked now. Where a file system has no locks it seems to be.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return True


def read_lines(path: Path, mend: str) -> list[dict[str, Any]]:
    """Reads a file of JSON objects, one a line; a last line that is unfinished is passed over.

    Args:
        path: The file; none is an empty one.
        mend: What to do where it is damaged.

    Raises:
        RunStateError: It is damaged.
    """
    if not path.exists():
        return []
    lines = _content(path, mend).split(b"\n")[:-1]
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = parse_json(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            raise RunStateError(f"{path} is damaged in line {number}: {mend}")
    return rows


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON, whole or not at all."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        RunStateError: The file holds none.
    """
    mend = "restore it, or remove what it belongs to"
    try:
        value = parse_json(_content(path, mend))
    except ValueError as error:
        raise RunStateError(f"{path} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise RunStateError(f"{path} is damaged: it must hold an object, got {value!r:.60}")
    return value


def read_text(path: Path) -> str:
    """Reads a small file of UTF-8.

    Raises:
        RunStateError: It is no UTF-8, or far larger than such files are.
    """
    try:
        return _content(path, "restore it").decode()
    except UnicodeDecodeError as error:
        raise RunStateError(f"{path} is damaged: {error}") from None


def parse_json(text: str | bytes) -> Any:
    """Parses JSON.

    Raises:
        ValueError: It is none, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def require(value: Mapping[str, Any], path: Path, /, **kinds: Any) -> None:
    """Makes sure that an object from a file has what is needed.

    Args:
        value: The object.
        path: The file.
        **kinds: The type of each entry by its name; several as a tuple, and of what a list holds
            in brackets.

    Raises:
        RunStateError: Entries are missing or of another type; all of them.
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


def _content(path: Path, mend: str) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise RunStateError(
            f"{path} must be at most {_MOST_BYTES:,} bytes, got {path.stat().st_size:,}: {mend}"
        )
    return content


def _end_of_lines(file: FileIO) -> int:
    """Where the last whole line ends, in bytes."""
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
def naming(path: Path) -> Iterator[None]:
    """Lets an error of the system name the file that is meant."""
    try:
        yield
    except OSError as error:
        words = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, words, str(path)) from None


def check_there(source: str | Path) -> None:
    """Makes sure that there is something where data is said to be.

    Args:
        source: A path; or a name, of which nothing is known here.

    Raises:
        NotFoundError: It is a path, and there is nothing.
    """
    path = Path(source)
    named = isinstance(source, str) and not path.suffix and source == path.name
    if not named and not path.exists():
        raise NotFoundError(f"{source} must be a folder or an .npz file, and is not there")
