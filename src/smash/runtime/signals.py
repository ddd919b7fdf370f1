"""Interruption by signals: at once where nothing is lost, otherwise when the state is complete."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

_HANG_UP = getattr(signal, "SIGHUP", None)  # not on Windows
_TERMINATIONS = (signal.SIGTERM, *([_HANG_UP] if _HANG_UP else []))


class Terminated(SystemExit):
    """SIGTERM, which schedulers send before they kill, or SIGHUP, which a closed terminal sends.

    Args:
        number: The signal; the exit code is that of a process that it kills.
    """

    code: int

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(128 + number)


class Interruption:
    """A request to stop. A second signal stops at once."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._at_once = False

    @property
    def requested(self) -> bool:
        """Says whether a signal came; a loop asks when its state is complete."""
        return self._number is not None

    def stop(self) -> NoReturn:
        """Raises the exception of the signal, or of Ctrl-C if another process received it."""
        if self._number is not None and self._number in _TERMINATIONS:
            raise Terminated(self._number)
        raise KeyboardInterrupt

    def check(self) -> None:
        """Stops if a signal came."""
        if self.requested:
            self.stop()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Lets a signal stop at once during long work that changes no state."""
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # A terminal that closes may send SIGHUP twice: by the kernel and by the shell.
        is_second = self.requested and number != _HANG_UP
        self._number = number
        if is_second or self._at_once:
            self.stop()


@contextmanager
def hear_interruption() -> Iterator[Interruption]:
    """Turns Ctrl-C, SIGTERM and SIGHUP into a request, which a loop checks between steps.

    Outside the main thread, where Python handles no signals, nothing is ever requested.
    """
    interruption = Interruption()
    with _handling(interruption._receive, signal.SIGINT, *_TERMINATIONS):
        yield interruption


@contextmanager
def hear_termination() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into an exception, as Python does for Ctrl-C."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    with _handling(stop, *_TERMINATIONS):
        yield


@contextmanager
def _handling(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    if _HANG_UP and before.get(_HANG_UP) is signal.SIG_IGN:  # by nohup
        del before[_HANG_UP]
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
