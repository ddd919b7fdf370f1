"""Errors that a user can cause.

Each is a `SmashError` and also the builtin that fits, so a program may catch either. It holds one
line per fault, which names the value, the rule and the fix; the command line prints the lines and
ends with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

_MOST_FAULTS = 10
_MOST_NAMED = 3


class SmashError(Exception):
    """An input, or a state of the world, that this program cannot work with.

    Args:
        *faults: All faults that were found, one line each.

    Example:
        >>> try:
        ...     raise InvalidValueError("epochs must be at least 1", "seed must be at least 0")
        ... except ValueError as error:
        ...     print(error)
        epochs must be at least 1
        seed must be at least 0
    """

    exit_code = 2

    def __init__(self, *faults: str) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(self.faults)


class InvalidValueError(SmashError, ValueError):
    """A setting or an argument is outside what is allowed."""


class DataError(SmashError, ValueError):
    """Data cannot be read or cannot be learned from."""


class NotFoundError(SmashError, FileNotFoundError):
    """A file, a run or a candidate does not exist."""


class AlreadyExistsError(SmashError, FileExistsError):
    """A file or a folder would be overwritten."""


class RunStateError(SmashError, RuntimeError):
    """A run folder is damaged, unfinished, in use, or was made with other settings."""


class MissingExtraError(SmashError, ImportError):
    """An optional dependency is not installed."""


class DivergedError(SmashError, FloatingPointError):
    """A loss is no longer finite."""

    exit_code = 1


class ParityError(SmashError, ArithmeticError):
    """An exported network computes something else than its child."""

    exit_code = 1


class LostProcessError(SmashError, ConnectionError):
    """Another process of the same training has ended."""

    exit_code = 1


class ServerError(SmashError, ConnectionError):
    """The server that stores a study failed or cannot be reached."""

    exit_code = 1


class CommandError(SmashError, RuntimeError):
    """A command of the user that measures children fails or prints something else."""

    exit_code = 1


@contextmanager
def collecting(faults: list[str]) -> Iterator[None]:
    """Adds the faults of a check to a list, so that the next check runs as well.

    Args:
        faults: Receives the faults of an `InvalidValueError` or a `DataError`; other errors pass.
    """
    try:
        yield
    except (InvalidValueError, DataError) as error:
        faults += error.faults


def faults_of(*checks: Callable[[], object]) -> list[str]:
    """Collects the faults of all checks.

    Args:
        *checks: Each returns, or raises `InvalidValueError` or `DataError`; other errors pass.
    """
    faults: list[str] = []
    for check in checks:
        with collecting(faults):
            check()
    return faults


def shortened(lines: Iterable[str], most: int = _MOST_FAULTS) -> list[str]:
    """Keeps the first lines of a long list, and adds how many were left out."""
    lines = list(lines)
    left_out = len(lines) - most
    return lines[:most] + ([f"and {left_out:,} more"] if left_out > 0 else [])


class Unusable(NamedTuple):
    """A file that cannot be used.

    Attributes:
        name: Names the file.
        reason: Why it cannot be used, as its reader words it.
    """

    name: str
    reason: str


def describe_unusable(files: Iterable[Unusable]) -> list[str]:
    """Words faults of files; many with the same reason are one line with their number."""
    by_reason: dict[str, list[str]] = {}
    for file in files:
        # A reader may name the file itself.
        reason = file.reason.replace(file.name, "the file")
        by_reason.setdefault(reason, []).append(file.name)
    lines = []
    for reason, names in by_reason.items():
        if len(names) <= _MOST_NAMED:
            lines += [f"{name} cannot be used ({reason}): replace or remove it" for name in names]
        else:
            lines.append(
                f"{len(names):,} files cannot be used ({reason}), such as {names[0]}: replace or "
                "remove them"
            )
    return shortened(lines)


def reason_of(error: object) -> str:
    """Words an error of another package in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200]


def listed(names: Iterable[object], most: int = _MOST_FAULTS) -> str:
    """Words a list of names for a message, shortened if it is long; ``none`` if it is empty."""
    return ", ".join(shortened((f"{name!s:.100}" for name in names), most)) or "none"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Words the fault of an unknown name, and suggests the likely meant one.

    Args:
        kind: What the name should be a name of, such as ``"preset"``.
        name: The unknown name.
        known: The names that exist.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name[:100], names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose one of {listed(names, 20)}"
    return f"{kind} {name!r:.200} is not known: {hint}"
