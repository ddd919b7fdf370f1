"""How far a long piece of work is: a bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int, str], None]
"""Called with what is done of the total, and a few words on how it goes."""

Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Called with the name of the work and its total; gives an `Advance`."""

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def silent(label: str, total: int) -> Iterator[Advance]:
    """Says nothing."""
    yield lambda done, words: None


@contextmanager
def on_terminal(label: str, total: int) -> Iterator[Advance]:
    """A bar with the time left where standard error is a terminal, else a line now and then."""
    shown = _bar if sys.stderr.isatty() else _lines
    with shown(label, total) as advance:
        yield advance


@contextmanager
def _bar(label: str, total: int) -> Iterator[Advance]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[words]}"),
    )
    with rich.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, words="")
        yield lambda done, words: bar.update(task, completed=done, words=words)


@contextmanager
def _lines(label: str, total: int) -> Iterator[Advance]:
    start = shown = time.monotonic()
    first: int | None = None

    def advance(done: int, words: str) -> None:
        nonlocal shown, first
        now = time.monotonic()
        first = done if first is None else first
        if done < total and now - shown < _SECONDS_BETWEEN_LINES:
            return
        shown = now
        left = (now - start) * (total - done) / max(1, done - first)
        print(f"{label} {done}/{total}, {_duration(left)} left  {words}", file=sys.stderr)

    yield advance


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
