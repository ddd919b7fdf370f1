"""Ctrl-C and SIGTERM: heard at once where nothing is lost by it, else where the state is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(SystemExit):
    """SIGTERM, which schedulers send before they kill: the program ends as one does that is."""

    code: int

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class Interruption:
    """Whether the user asked to stop. A second signal stops at once."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._at_once = False

    @property
    def requested(self) -> bool:
        """Whether it was asked for; a loop looks at it where its state is whole."""
        return self._number is not None

    def stop(self) -> NoReturn:
        """Stops as the signal that came says; as Ctrl-C where another process heard it."""
        if self._number == signal.SIGTERM:
            raise Terminated
        raise KeyboardInterrupt

    def check(self) -> None:
        """Stops if it was asked for."""
        if self.requested:
            self.stop()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, a signal stops at once: for long work that changes no state."""
        self._at_once = True
        try:
            self.check()  # it may have come before
            yield
        finally:
            self._at_once = False

    def _hear(self, number: int, frame: FrameType | None) -> None:
        again = self.requested
        self._number = number
        if again or self._at_once:
            self.stop()


@contextmanager
def hear_interruption() -> Iterator[Interruption]:
    """Turns signals into a request that a loop looks at where its state is whole.

    Outside the main thread, where Python hears no signals, nothing is ever requested.
    """
    interruption = Interruption()
    with _handling(interruption._hear, *_SIGNALS):
        yield interruption


@contextmanager
def hear_termination() -> Iterator[None]:
    """Lets SIGTERM end the program as Ctrl-C does, with a word on what is kept."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    with _handling(stop, signal.SIGTERM):
        yield


@contextmanager
def _handling(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
