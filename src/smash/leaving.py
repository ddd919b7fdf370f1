"""How a program ends when something went wrong: lines on standard error, and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import NoReturn

from smash.errors import LostProcessError, SmashError


def speaks() -> bool:
    """Whether this process prints: of those that ``torchrun`` starts, the first."""
    return os.environ.get("RANK", "0") == "0"


def leave(program: str, error: BaseException) -> NoReturn:
    """Ends the program: 1 failed, 2 wrong use, 130 interrupted.

    Args:
        program: Its name, which begins each line.
        error: Why it ends: a `SmashError`, an `OSError`, or an interruption.
    """
    if isinstance(error, SmashError):
        # Of several processes the first speaks, unless it is the one that is gone.
        heard = speaks() or isinstance(error, LostProcessError)
        fail(program, error.faults if heard else [], error.exit_code)
    if isinstance(error, OSError):
        fail(program, [f"{error.filename or 'file'}: {error.strerror or error}"], 1)
    words = "interrupted; the state is saved, and the same command goes on (train: --resume)"
    fail(program, [words], 130)


def fail(program: str, faults: Iterable[str], code: int) -> NoReturn:
    """Prints each fault as one line, and ends the program."""
    for fault in faults:
        print(f"{program}: {' '.join(str(fault).split())}", file=sys.stderr)
    sys.exit(code)
