"""File locks: one process at a time trains, searches or retrains in a folder."""

from __future__ import annotations

import errno
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from smash.errors import RunStateError
from smash.io.files import check_entries, read_text, remove_abandoned, write_atomically

_ALIVE = ".alive.lock"
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def hold(folder: Path, work: str) -> Iterator[None]:
    """Locks a folder for one kind of work against other processes.

    The OS releases the lock when the process exits, even on SIGKILL. The lock file stays, and
    beside it lies the owner's name for whoever comes second.

    Args:
        folder: The folder.
        work: The command: ``train``, ``search`` or ``retrain``.

    Raises:
        RunStateError: Another process does the same work in this folder, or the folder holds links.
    """
    owner = folder / f".{work}.owner"
    try:
        with _locked(folder / f".{work}.lock", blocking=False):
            check_entries(folder)
            with suppress(OSError):  # a full disk: work goes on without the owner's name
                write_atomically(owner, f"{os.getpid()} on {platform.node()}".encode())
            remove_abandoned(folder)
            try:
                yield
            finally:
                with suppress(OSError):
                    owner.unlink(missing_ok=True)
    except Timeout:
        raise RunStateError(
            f"{str(folder)!r} is in use: process {_read_owner(owner)} runs 'smash {work}' there; "
            "wait until it ends, or work in a copy of the folder"
        ) from None


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Waits until no other process appends to a file that several may append to."""
    with _locked(path.with_name(f".{path.name}.lock"), blocking=True):
        yield


@contextmanager
def temporary_folder(parent: Path, work: str) -> Iterator[Path]:
    """Makes a temporary folder, and removes those that killed processes left of the same work.

    A folder holds a lock for as long as its process lives; one without the file of a lock is the
    user's, and stays.

    Args:
        parent: The folder that it is made in.
        work: The work, which its name begins with.
    """
    for alive in parent.glob(f".{work}-*/{_ALIVE}"):
        with suppress(Timeout, OSError, NotImplementedError):
            with FileLock(alive, blocking=False):
                shutil.rmtree(alive.parent, ignore_errors=True)
            alive.parent.rmdir()  # Windows removes no file that is open
    with ExitStack() as stack:
        yield _make_locked(stack, parent, work)


def _make_locked(stack: ExitStack, parent: Path, work: str) -> Path:
    """Makes a folder with a lock; another one if a process removes it before it is locked."""
    while True:
        name = stack.enter_context(
            TemporaryDirectory(prefix=f".{work}-", dir=parent, ignore_cleanup_errors=True)
        )
        alive = Path(name, _ALIVE)
        with suppress(Timeout, FileNotFoundError):
            stack.enter_context(_locked(alive, blocking=False))
            if alive.exists():
                return alive.parent


@contextmanager
def _locked(path: Path, *, blocking: bool) -> Iterator[None]:
    """Locks a file; on a file system without locks it goes on without one."""
    if path.is_symlink():  # filelock refuses one as well, but not on every system
        raise RunStateError(f"{path} is a link and is not written to: remove it")
    lock = FileLock(path, blocking=blocking)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    except NotImplementedError:  # how older versions of filelock report ENOSYS
        pass
    try:
        yield
    finally:
        lock.release()


def _read_owner(path: Path) -> str:
    try:
        return read_text(path)[:200]
    except (OSError, RunStateError):
        return "?"
