"""A user's command that measures a network in a file, such as on a board."""

from __future__ import annotations

import math
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import IO

from pydantic import BaseModel, ConfigDict, Field

from smash.errors import CommandError, InvalidValueError
from smash.io.files import parse_json
from smash.io.text import printable, text_digest

MODEL = "{model}"
"""Stands for the file in a command."""

_TRIES = 2
_MOST_BYTES = 2**16  # of the output that is read
_GRACE = 1.0  # seconds to read what a process has printed that has ended


class _Measured(BaseModel):
    """The output of a command; None for seconds says that the network does not run."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    seconds: float | None = Field(gt=0, strict=True)
    memory_bytes: int | None = Field(None, ge=0, strict=True)
    flash_bytes: int | None = Field(None, ge=0, strict=True)

    @classmethod
    def parse(cls, text: str) -> _Measured:
        """Reads the last line, a number of seconds or null, or else the whole text as JSON.

        Raises:
            ValueError: It is neither.
        """
        try:
            found = parse_json(text.strip().rpartition("\n")[2])
        except ValueError:
            found = parse_json(text)
        return cls.model_validate(found if isinstance(found, dict) else {"seconds": found})


def split_command(command: str) -> list[str]:
    """Splits a command into its arguments as a shell does, without running one.

    Raises:
        InvalidValueError: A quote is not closed, or no argument holds `MODEL`.
    """
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise InvalidValueError(
            f"latency_command must be split like a shell's ({error}), got {command!r:.100}: close "
            "its quotes"
        ) from None
    if not any(MODEL in each for each in arguments[1:]):
        raise InvalidValueError(
            f"latency_command must be a program and {MODEL}, which stands for the exported file, "
            f"got {command!r:.100}: add it, as in 'python time_onnx.py {MODEL}'"
        )
    return arguments


def command_name(command: str) -> str:
    """Names a command by its program and a digest, the same whatever folders its files lie in."""
    words = split_command(command)
    names = " ".join(Path(word).name for word in words)
    return f"{Path(words[0]).name} ({text_digest(names)})"


def measure_by_command(command: str, path: Path, timeout: float) -> dict[str, float]:
    """Runs a command on a file without a shell, and once more if it fails.

    Args:
        command: The command; `MODEL` in its arguments becomes the file.
        path: The file.
        timeout: Seconds after which a try is stopped, with all processes that it has started.

    Returns:
        ``seconds``, infinite if the command printed null for them, and ``memory_bytes`` and
        ``flash_bytes`` as far as it printed them.

    Raises:
        CommandError: It failed twice, or cannot be started.
    """
    program, *arguments = split_command(command)
    words = [program, *(each.replace(MODEL, str(path.absolute())) for each in arguments)]
    reason = ""
    for _ in range(_TRIES):
        try:
            measured = _measure(words, timeout)
        except OSError as error:
            raise CommandError(
                f"latency_command cannot be started ({error.strerror}), got {program!r:.100}: name "
                "a program that exists, or give its path"
            ) from None
        except ValueError as error:
            reason = str(error)
        else:
            numbers = {"seconds": math.inf, **measured.model_dump(exclude_none=True)}
            return {name: float(value) for name, value in numbers.items()}
    raise CommandError(
        f"latency_command {printable(command)!r:.100} failed twice: {reason}; all candidates "
        "before are saved: mend it, and repeat the search to continue"
    )


def _measure(words: list[str], timeout: float) -> _Measured:
    """Runs a command once.

    Raises:
        ValueError: It failed; says why.
        OSError: It cannot be started.
    """
    process = subprocess.Popen(  # noqa: S603 # The command that the user gave.
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that what it starts can be stopped with it
    )
    output, errors = (_Reader(stream) for stream in (process.stdout, process.stderr) if stream)
    try:
        with _ending_with_us(process):
            code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise ValueError(f"it took longer than {timeout:g} s and was stopped") from None
    finally:
        if process.returncode is None:  # also when the search is interrupted
            _kill(process)
    if code < 0:
        raise ValueError(f"it was killed by {signal.Signals(-code).name}")
    if code:
        last = errors.text().strip().rpartition("\n")[2]
        raise ValueError(f"it ended with code {code}" + f" ({printable(last):.100})" * bool(last))
    text = output.text()
    try:
        return _Measured.parse(text)
    except ValueError:
        raise ValueError(
            "it must print positive seconds, or JSON with seconds and, if known, memory_bytes and "
            f"flash_bytes, whole numbers from 0, got {text.strip()!r:.60}"
        ) from None


class _Reader(Thread):
    """Reads a pipe to its end and keeps the last of it.

    The pipe may stay open after the command has ended, in a process that it left behind.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream, self._content = stream, bytearray()
        self.start()

    def run(self) -> None:
        """Reads."""
        with self._stream:
            while chunk := os.read(self._stream.fileno(), _MOST_BYTES):
                self._content = (self._content + chunk)[-_MOST_BYTES:]

    def text(self) -> str:
        """Returns what was read, as text."""
        self.join(_GRACE)
        return self._content.decode(errors="replace")


@contextmanager
def _ending_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kills a process and its session if this process ends meanwhile, even by SIGKILL.

    A shell waits for a line, and sees the end of its input instead when this process is gone.
    """
    if sys.platform == "win32":
        yield
        return
    script = 'read -r line || kill -s KILL -- "-$0"'
    guard = subprocess.Popen(  # noqa: S603 # It takes a number alone.
        ["/bin/sh", "-c", script, str(process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that Ctrl-C does not end it first
    )
    try:
        yield
    finally:
        guard.communicate(b"\n")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a process and all others of its session."""
    if sys.platform != "win32":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
