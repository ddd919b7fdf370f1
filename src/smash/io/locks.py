"""One process at a time for work that cannot be shared: a training, a search, a child."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smash.errors import RunStateError
from smash.io.files import lock, remove_abandoned


@contextmanager
def hold(folder: Path, work: str) -> Iterator[None]:
    """Holds a folder for one kind of work, in which no other process may do the same meanwhile.

    The system lets go of it when the process ends, however that is: a lock outlives nobody, and the
    file that a killed process leaves behind holds nothing.

    Args:
        folder: The folder.
        work: What is done: ``train``, ``search`` or ``retrain``.

    Raises:
        RunStateError: Another process is at it.
    """
    path = folder / f".{work}.lock"
    with _locked(path, folder, work) as file:
        with suppress(OSError):  # a full disk: it is but a word for whoever comes second
            os.truncate(file, 0)
            os.write(file, f"{os.getpid()} on {platform.node()}\n".encode())
        remove_abandoned(folder)
        yield


@contextmanager
def _locked(path: Path, folder: Path, work: str) -> Iterator[int]:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not lock(file, wait=False):
                owner = os.read(file, 200).decode(errors="replace").strip() or "?"
                raise RunStateError(
                    f"{str(folder)!r} is in use: process {owner} is at 'smash {work}' there; "
                    "wait until it ends, or work in a copy of the folder"
                )
            # Whoever held it before may have removed it since it was opened: then it is nobody's.
            if not path.exists() or not os.path.samestat(os.fstat(file), path.stat()):
                continue
            try:
                yield file
            finally:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            return
        finally:
            os.close(file)
