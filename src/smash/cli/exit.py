"""Exit codes: 0 done, 1 failed, 2 wrong use or unusable input, 130 or 143 interrupted."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

from smash.errors import LostProcessError, SmashError
from smash.io.text import printable
from smash.runtime.signals import Terminated

HANDLED = (
    *(SmashError, OSError, KeyboardInterrupt, Terminated),
    *(MemoryError, RuntimeError, ImportError),
)
"""Errors that `exit_for` explains in one line; any other is a bug and keeps its traceback."""

INTERRUPTED = 128 + signal.SIGINT

_LONGEST_LINE = 1000
_RESUMABLE = "the state is saved; repeat the command to continue"
_RESUMING = ", with --resume if the run folder exists"
_AFTER_INTERRUPTION = {
    **dict.fromkeys(("search", "retrain", "compare", "correlate", "evaluate.py"), _RESUMABLE),
    "train": _RESUMABLE + _RESUMING,
    "train.py": f"{_RESUMABLE}, with --resume if it trained a SMASH network",
    "demo": "its run folder keeps what was finished; the same command starts another run",
}
"""Advice after an interruption, by command; other commands change nothing until they end."""

_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    # oneDNN does not say why, but it refuses nothing else that is computed here.
    "could not create a primitive",
    "could not create a memory object",
)
_NO_SPACE = "failed to map segment"  # of a library, by the dynamic linker
_SAVED = "everything saved before is intact"
_REPEAT = "and repeat the command"
_ADVICE = {
    errno.ENOSPC: f"{_SAVED}; free some disk space {_REPEAT}",
    errno.EDQUOT: f"{_SAVED}; free some disk space {_REPEAT}",
    errno.EFBIG: f"{_SAVED}; raise the limit on file sizes {_REPEAT}",
    errno.EROFS: "nothing was changed; choose a folder that is writable",
    errno.EACCES: "nothing was changed; give this user the permission",
    errno.EPERM: "nothing was changed; give this user the permission",
}


def is_first_process() -> bool:
    """Says whether this process prints: only the first of those that ``torchrun`` starts does."""
    return os.environ.get("RANK", "0") == "0"


def prepare_streams() -> None:
    """Makes the standard streams safe to write to.

    A closed stream is replaced by the null device, so that no file which is opened later gets its
    number. Characters that the encoding of a stream lacks are escaped.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
        elif isinstance(stream, io.TextIOWrapper) and mode == "w":
            stream.reconfigure(errors="backslashreplace")


def exit_for(program: str, error: BaseException, command: str = "") -> NoReturn:
    """Ends the program: 1 failed, 2 wrong use, 130 interrupted, 143 interrupted by SIGTERM.

    Args:
        program: Its name, with which each line begins.
        error: The reason, one of `HANDLED`.
        command: The command that was run.
    """
    if isinstance(error, SmashError):
        # All processes of a training find the same fault, but only some find that one is lost.
        prints = is_first_process() or isinstance(error, LostProcessError)
        fail(program, error.faults if prints else [], error.exit_code)
    if isinstance(error, OSError) and error.filename is None:
        # Standard output takes no more: the interpreter would try to flush it again.
        with suppress(OSError):  # it may be no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):  # by its reader, such as `head`
        sys.exit(1)
    if isinstance(error, OSError):
        advice = f": {_ADVICE[error.errno]}" if error.errno in _ADVICE else ""
        if advice.endswith(_REPEAT) and command == "train":
            advice += _RESUMING
        fail(program, [f"{error.filename or 'output'}: {error.strerror or error}{advice}"], 1)
    if isinstance(error, MemoryError) or any(text in str(error).lower() for text in _OUT_OF_MEMORY):
        reason = str(error).partition("\n")[0][:200]
        shown = f"out of memory ({reason})" if reason else "out of memory"
        fail(program, [f"{shown}: choose a smaller --batch-size or --preset"], 1)
    if isinstance(error, ImportError) and _NO_SPACE in str(error):
        fail(program, [f"out of memory ({error}): raise the limit on memory"], 1)
    if isinstance(error, RuntimeError | ImportError):
        raise error
    left = _AFTER_INTERRUPTION.get(command, "nothing was changed; repeat the command")
    code = error.code if isinstance(error, Terminated) else INTERRUPTED
    fail(program, [f"interrupted; {left}"], code)


def fail(program: str, faults: Iterable[str], code: int) -> NoReturn:
    """Prints each fault as one line, and ends the program."""
    for fault in faults:
        line = printable(" ".join(str(fault).split()))
        if len(line) > _LONGEST_LINE:
            line = f"{line[: _LONGEST_LINE // 2]} … {line[-_LONGEST_LINE // 2 :]}"
        with suppress(OSError):  # a closed terminal must not change the exit code
            print(f"{program}: {line}", file=sys.stderr)
    sys.exit(code)
