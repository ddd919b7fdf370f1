"""Progress of long work: a bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import IO, Any, cast

Advance = Callable[[int, str], None]
"""Called with the work done so far, in units of the total, and a short remark."""

Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Called with a label and the total; the context gives an `Advance`."""

Announce = Callable[[list[str]], None]
"""Shows lines on what is about to begin, or what was found."""

_SECONDS_BETWEEN_LINES = 10.0
_FEWEST = 2  # units of work that tell the time left


@contextmanager
def silent(label: str, total: int) -> Iterator[Advance]:
    """Shows nothing."""
    yield lambda done, remark: None


@contextmanager
def on_terminal(label: str, total: int) -> Iterator[Advance]:
    """Shows a bar with the time left if standard error is a terminal, otherwise some lines."""
    show = _bar if sys.stderr.isatty() else _lines
    with show(label, total) as advance:
        yield advance


@contextmanager
def automatic(label: str, total: int) -> Iterator[Advance]:
    """Shows a bar in a terminal or a notebook, and nothing where standard error is piped."""
    show = _bar if sys.stderr.isatty() or _in_notebook() else silent
    with show(label, total) as advance:
        yield advance


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def _bar(label: str, total: int) -> Iterator[Advance]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[remark]}", markup=False),
    )
    notebook = _in_notebook()
    stream = None if notebook else cast("IO[str]", _Unbreakable(sys.stderr))
    console = Console(file=stream, force_jupyter=notebook or None)
    with rich.Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total, remark="")
        yield lambda done, remark: bar.update(task, completed=done, remark=remark)


@contextmanager
def _lines(label: str, total: int) -> Iterator[Advance]:
    start = shown = time.monotonic()
    first: int | None = None
    last = ""

    def show(line: str) -> None:
        _Unbreakable(sys.stderr).write(line + "\n")

    def advance(done: int, remark: str) -> None:
        nonlocal shown, first, last
        now = time.monotonic()
        first = done if first is None else first
        left = ""
        if done < total and done - first >= _FEWEST:
            left = f", {_duration((now - start) * (total - done) / (done - first))} left"
        line = f"{label} {done}/{total}{left}" + f"  {remark}" * bool(remark)
        if done >= total:
            last = line  # the end may be told again, with a better remark
        elif now - shown >= _SECONDS_BETWEEN_LINES:
            shown = now
            show(line)

    try:
        yield advance
    finally:
        if last:
            show(last)


class _Unbreakable:
    """A text stream that ignores errors: work must not fail because its terminal was closed."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
