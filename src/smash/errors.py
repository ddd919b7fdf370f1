"""What can go wrong, as one family.

Every error that a user can cause is a `SmashError`. It holds a list of faults, each one line that
names the value, the rule and the mend. The command line prints the lines and leaves with
`exit_code`; a program catches the family, or the builtin that fits.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable


class SmashError(Exception):
    """An input or a state of the world that this program cannot work with.

    Args:
        *faults: The faults found, one line each; all that one input has, not only the first.
    """

    exit_code = 2

    def __init__(self, *faults: str) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(self.faults)


class InvalidValueError(SmashError, ValueError):
    """A setting or an argument outside what is allowed."""


class DataError(SmashError, ValueError):
    """Data that cannot be read or cannot be learned from."""


class NotFoundError(SmashError, FileNotFoundError):
    """A file, a run or a candidate that is not there."""


class AlreadyExistsError(SmashError, FileExistsError):
    """Something that would be overwritten."""


class RunStateError(SmashError, RuntimeError):
    """A run folder that is damaged, unfinished or made with other settings."""


class MissingExtraError(SmashError, ImportError):
    """An optional dependency that is not installed."""


class DivergedError(SmashError, FloatingPointError):
    """A loss that is no longer finite."""

    exit_code = 1


class ParityError(SmashError, ArithmeticError):
    """An export that computes something else than its child."""

    exit_code = 1


class LostProcessError(SmashError, ConnectionError):
    """A process of a training that several share has ended before the others."""

    exit_code = 1


class ServerError(SmashError, ConnectionError):
    """A server that keeps a study, and can no longer be reached or fails."""

    exit_code = 1


def faults_of(*checks: Callable[[], object]) -> list[str]:
    """The faults that checks find, one after the other: what one refuses, others do not hide.

    Args:
        *checks: Each returns, or raises `InvalidValueError`; what else they raise is raised.
    """
    faults: list[str] = []
    for check in checks:
        try:
            check()
        except InvalidValueError as error:
            faults += error.faults
    return faults


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Words the fault of an unknown name, with the likely meant one.

    Args:
        kind: What the name should have been a name of, such as ``"preset"``.
        name: The name as given.
        known: The names that exist.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name[:100], names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(names)}"
    return f"{kind} {name!r:.200} is not known: {hint}"
