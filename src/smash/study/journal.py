"""A study in a journal file of the run folder: Optuna's own format, one operation a line.

One search writes it at a time, holding the lock of the run. Readers need no lock: a last line that
a kill left unfinished is passed over by them and cut off by the next search.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

_PATIENCE = 3  # seconds until a lock counts as left behind by a kill: a write takes milliseconds


def open_journal(path: Path, name: str, *, create: bool) -> optuna.Study:
    """Opens a study in a journal file.

    Args:
        path: The file.
        name: Name of the study in it.
        create: Whether to write to it, and to create it if it does not exist; the caller holds the
            lock of the run.

    Raises:
        OSError: The file cannot be read, or cannot be written with `create`.
        Exception: A line is damaged; Optuna raises whatever that leads to.
    """
    # Optuna's lock is a link to the journal. A relative target would be looked up in the folder of
    # the link, so that the link of a killed process would dangle, and Optuna wait for it for ever.
    path = path.absolute()
    lock = JournalFileSymlinkLock(str(path), grace_period=_PATIENCE)
    if create:
        _remove_stale_lock(Path(f"{path}.lock"))
        if path.exists():
            _cut_unfinished_line(path, lock)
    exists = path.exists() and path.stat().st_size > 0
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path), lock))
    # Not load_if_exists, which adds a line to the journal each time.
    if exists:
        return optuna.load_study(storage=storage, study_name=name)
    return optuna.create_study(storage=storage, study_name=name, direction="minimize")


def _remove_stale_lock(link: Path) -> None:
    """Removes the lock that a killed process left; a younger one may be a dashboard's."""
    if not link.is_symlink():
        return
    age = time.time() - link.lstat().st_mtime
    if age > _PATIENCE or not link.exists():
        link.unlink(missing_ok=True)


def _cut_unfinished_line(path: Path, lock: JournalFileSymlinkLock) -> None:
    """Cuts off a last line that was not written to its end: Optuna would append to it."""
    lock.acquire()
    try:
        with path.open("r+b") as file:
            content = file.read()
            end = content.rfind(b"\n") + 1
            if end < len(content):
                file.truncate(end)
                os.fsync(file.fileno())
    finally:
        lock.release()
