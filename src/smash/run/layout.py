"""The layout of a run folder: its files by name, and checks that they exist, without torch.

runs/NAME/
  config.toml  environment.json       resolved settings; versions and machine
  network.safetensors  state.*        weights; the state for an exact resume
  snapshots/  copies/                 networks that rank beside the last; kept weights
  metrics.jsonl  tensorboard/         training curves
  data.json                           facts of the data
  study.journal                       candidates and scores
  storage.json                        the server that holds them instead
  latency.jsonl  ensemble.*           times of candidates; mean predictions of all
  finals.json                         the trainings that chose the winner
  comparison.json  compared-*         the winner beside other networks; their times
  trust.json  .svg  .jsonl            the ranking beside real accuracies; values of proxies
  report.html                         all of it
  children/NAME/                      trained networks
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from smash.config import RunSettings
from smash.errors import (
    AlreadyExistsError,
    InvalidValueError,
    NotFoundError,
    RunStateError,
)
from smash.io.files import check_entries
from smash.io.text import is_utf8, printable

CONFIG = "config.toml"
ENVIRONMENT = "environment.json"
NETWORK = "network.safetensors"
CHECKPOINT = "state.safetensors"
METRICS = "metrics.jsonl"
COPIES = "copies"  # their files are named by `copy_path`
SNAPSHOTS = "snapshots"
TENSORBOARD = "tensorboard"

STUDY = "study.journal"
STORAGE = "storage.json"
ENSEMBLE = "ensemble.safetensors"
LATENCIES = "latency.jsonl"
COMPARED_LATENCIES = "compared-latency.jsonl"

FINALS = "finals.json"
COMPARISON = "comparison.json"
REPORT = "report.html"
DATA = "data.json"
FOUND = "trust.json"
MEASUREMENTS = "trust.jsonl"
PICTURE = "trust.svg"

_BLOCK = 2**16  # bytes that the first line of a study is shorter than

SPLITS = ("train", "val", "test")

CHILDREN = "children"
ARCHITECTURE = "architecture.json"
MODEL = "model.safetensors"
BEST = "best.safetensors"
RESULT = "result.json"
MISTAKES = "mistakes.json"

AUDIT = "audit"
"""The split that `correlate` judges children on, and the end of their names."""

BRIEF = "brief"
"""The validation split as the brief trainings of finals see it, and the end of their children's
names."""


def check_free(path: Path, advice: str = "choose another --out, or add --resume") -> None:
    """Checks that a new run may be made at a path, and would overwrite nothing.

    The remains of a start that was killed before it wrote its settings count as nothing.

    Args:
        path: The folder of the run.
        advice: What to do if something exists there.

    Raises:
        AlreadyExistsError: Something exists at this path.
        InvalidValueError: The path is not UTF-8, which reports and exports could not hold.
    """
    if not is_utf8(path):
        raise InvalidValueError(f"path {printable(path)} must be UTF-8: choose another --out")
    if path.is_dir() and _are_remains([*path.iterdir()]):
        return
    if path.exists() or path.is_symlink():
        raise AlreadyExistsError(f"{str(path)!r} already exists and is kept: {advice}")


def _are_remains(entries: Sequence[Path]) -> bool:
    """Tells whether files are what a killed process leaves of a run that has not begun."""
    hidden = {
        entry.name
        for entry in entries
        if entry.name.startswith(".") and entry.suffix in (".tmp", ".lock", ".owner")
    }
    # A file of these names without a lock beside it is the user's.
    own = {ENVIRONMENT, DATA} if any(name.endswith(".lock") for name in hidden) else set()
    return all(entry.name in hidden | own for entry in entries)


def find_run(path: str | Path) -> RunSettings:
    """Finds a run and reads its settings.

    Raises:
        NotFoundError: There is no run at this path.
        RunStateError: Its configuration is damaged, or the folder holds links.
    """
    path = Path(path)
    if not path.is_dir():
        raise NotFoundError(f"run {str(path)!r} does not exist; create it with 'smash train'")
    if not os.path.lexists(path / CONFIG):
        if (entries := [*path.iterdir()]) and _are_remains(entries):
            raise NotFoundError(
                f"run {str(path)!r} was stopped before it began: start it again, without --resume"
            )
        raise NotFoundError(
            f"{str(path)!r} is not a run: a run folder holds {CONFIG}; "
            "pass the folder that --out named"
        )
    check_entries(path, depth=2)
    return RunSettings.from_toml(path / CONFIG)


def check_trained(path: Path) -> None:
    """Checks that the SMASH network of a run is trained.

    Raises:
        RunStateError: Training has not finished.
    """
    if not (path / NETWORK).is_file():
        raise RunStateError(
            f"run {str(path)!r} has not finished training: "
            f"continue with 'smash train --resume --out {shlex.quote(str(path))}'"
        )


def network_digest(path: Path) -> str:
    """Identifies the SMASH network of a run by twelve hexadecimal digits."""
    with (path / NETWORK).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def is_searched(path: Path) -> bool:
    """Tells whether a run has a study, given its journal."""
    on_server = (path.parent / STORAGE).is_file()  # which knows whether it has candidates
    return on_server or (path.is_file() and _has_line(path))


def check_searched(path: Path) -> None:
    """Checks that a run has a study.

    Args:
        path: The study's journal.

    Raises:
        NotFoundError: It does not exist.
    """
    if not is_searched(path):
        raise NotFoundError(
            f"run {str(path.parent)!r} has no candidates: rank some with "
            f"'smash search {shlex.quote(str(path.parent))}'"
        )


def _has_line(path: Path) -> bool:
    """Tells whether a line was written to its end: a kill may cut off the first."""
    with path.open("rb") as file:
        first = file.readline(_BLOCK)
    return first.endswith(b"\n") or len(first) == _BLOCK


def check_child(path: str | Path) -> None:
    """Checks that a path is the folder of a trained child.

    Raises:
        NotFoundError: There is no child at this path.
        RunStateError: Its training has not finished.
    """
    path = Path(path)
    if path.is_dir():
        check_entries(path)
    if not (path / ARCHITECTURE).is_file():
        raise NotFoundError(
            f"{str(path)!r} is not a trained child: name a folder RUN/children/NAME, "
            "made with 'smash retrain RUN'"
        )
    if not (path / RESULT).is_file():
        raise RunStateError(
            f"child {path.name!r} has not finished training: repeat the 'smash retrain' "
            "command that began it"
        )


def copy_path(folder: Path, kind: str, number: int) -> Path:
    """Returns the file of a copy of the weights.

    Args:
        folder: `SNAPSHOTS` or `COPIES` of a run or a child.
        kind: What the copies are numbered by.
        number: Number of the copy.

    Example:
        >>> copy_path(Path("run", SNAPSHOTS), "step", 40).name
        'step-40.safetensors'
    """
    return folder / f"{kind}-{number}.safetensors"


def check_split(split: str) -> None:
    """Checks the name of a split that a child is evaluated on.

    Raises:
        InvalidValueError: There is no such split.
    """
    if split not in SPLITS:
        raise InvalidValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")


def child_path(run: Path, name: str) -> Path:
    """Returns the folder of a child.

    Args:
        run: The run folder.
        name: Name of the child.

    Raises:
        InvalidValueError: The name would lead outside the folder of children.
    """
    if name in ("", ".", "..") or any(sign in name for sign in "/\\\0") or len(name) > 200:
        raise InvalidValueError(f"name must be a folder name, got {name!r}: leave out slashes")
    return run / CHILDREN / name
