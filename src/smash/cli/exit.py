"""How a program ends when something went wrong: lines on standard error, and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterable
from typing import NoReturn

from smash.errors import LostProcessError, SmashError
from smash.io.text import printable
from smash.runtime.signals import Terminated

ENDINGS = (SmashError, OSError, KeyboardInterrupt, Terminated, MemoryError, RuntimeError)
"""What `leave` finds words for; other errors are faults of the program, and show where."""

INTERRUPTED = 128 + signal.SIGINT

_GOES_ON = "the state is saved, and the same command goes on"
_INTERRUPTED = {
    **dict.fromkeys(("search", "retrain", "correlate", "evaluate.py"), _GOES_ON),
    **dict.fromkeys(("train", "train.py"), f"{_GOES_ON}, with --resume where it trains a network"),
    "demo": "what was made is kept in its run folder; the same command makes another",
}
"""What an interruption leaves, by command; others change nothing before they are done."""

_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")
_MENDS = {
    errno.ENOSPC: "what was saved before is kept; free some space and repeat the command",
    errno.EDQUOT: "what was saved before is kept; free some space and repeat the command",
    errno.EFBIG: "what was saved before is kept; allow larger files and repeat the command",
    errno.EROFS: "nothing was changed; use a folder that can be written to",
    errno.EACCES: "nothing was changed; give this user the right to it",
    errno.EPERM: "nothing was changed; give this user the right to it",
}


def speaks() -> bool:
    """Whether this process prints: of those that ``torchrun`` starts, the first."""
    return os.environ.get("RANK", "0") == "0"


def leave(program: str, error: BaseException, command: str = "") -> NoReturn:
    """Ends the program: 1 failed, 2 wrong use, 130 interrupted, 143 interrupted by SIGTERM.

    Args:
        program: Its name, which begins each line.
        error: Why it ends, one of `ENDINGS`.
        command: Which of its commands it was.
    """
    if isinstance(error, SmashError):
        # Of several processes the first speaks, unless it is the one that is gone.
        heard = speaks() or isinstance(error, LostProcessError)
        fail(program, error.faults if heard else [], error.exit_code)
    if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
        _close_output()
        sys.exit(1)
    if isinstance(error, OSError):
        mend = f": {_MENDS[error.errno]}" if error.errno in _MENDS else ""
        fail(program, [f"{error.filename or 'output'}: {error.strerror or error}{mend}"], 1)
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY):
        fail(program, [f"{_of_memory(error)}: a smaller --batch-size or --preset needs less"], 1)
    if isinstance(error, RuntimeError):
        raise error
    left = _INTERRUPTED.get(command, "nothing was changed: repeat the command")
    fail(
        program,
        [f"interrupted; {left}"],
        Terminated().code if isinstance(error, Terminated) else INTERRUPTED,
    )


def _of_memory(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"out of memory ({lines[0][:200]})" if lines else "out of memory"


def _close_output() -> None:
    """Lets the interpreter end without another try to write what nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(program: str, faults: Iterable[str], code: int) -> NoReturn:
    """Prints each fault as one line, and ends the program."""
    for fault in faults:
        print(f"{program}: {printable(' '.join(str(fault).split()))}", file=sys.stderr)
    sys.exit(code)
