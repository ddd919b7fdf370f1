"""Executors: work is done in this process, in several of this machine, or on a Ray cluster.

They are shaped as `concurrent.futures`: `Executor.submit` returns a future, whose `result` waits.
Two things come on top, because work may be far away: `Executor.scatter` sends a large value to each
machine once, and a future may itself be an argument, whose result then stays where it was computed.
What is submitted, in which order results are used, and who writes them down is the same for all
executors; so the results are the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

import torch

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Future(Protocol[R_co]):
    """The result of a piece of work, which may not exist yet."""

    def result(self) -> R_co:
        """Waits for the result, or raises what the work raised."""


class Movable(Protocol):
    """A value that pieces of work share, such as a network; each machine holds it once."""

    def to(self, device: torch.device) -> Self:
        """Copies the value to a device."""


class Executor(ABC):
    """Does pieces of work.

    Example:
        >>> executor = SerialExecutor()
        >>> quotient = executor.submit(divmod, 17, 5)
        >>> quotient.result()
        (3, 2)
    """

    has_devices = False
    """Whether machines have devices that `submit_to_device` uses."""

    slots: float = 1
    """Number of pieces of work that are done at once."""

    @abstractmethod
    def scatter(self, value: Movable) -> Any:
        """Sends a value to all machines; returns an argument that stands for it.

        It takes the place of the value before, for which no work may be waiting any more.
        """

    @abstractmethod
    def submit(self, function: Callable[..., R], /, *arguments: Any) -> Future[R]:
        """Submits a piece of work.

        Args:
            function: A function of a module.
            *arguments: Plain values, futures of this executor, and what `scatter` returned.
        """

    def submit_to_device(self, function: Callable[..., R], /, *arguments: Any) -> Future[R]:
        """Submits a piece of work that has a device for itself; by default that of `submit`."""
        return self.submit(function, *arguments)

    @abstractmethod
    def as_completed(self, futures: Sequence[Future[R]]) -> Iterator[Future[R]]:
        """Yields futures as their results become available."""


class SerialExecutor(Executor):
    """Does work in this process, one piece after the other, when its result is asked for."""

    def scatter(self, value: Movable) -> Movable:
        """Returns the value itself."""
        return value

    def submit(self, function: Callable[..., R], /, *arguments: Any) -> Future[R]:
        """Notes a piece of work."""
        return _SerialFuture(function, arguments)

    def as_completed(self, futures: Sequence[Future[R]]) -> Iterator[Future[R]]:
        """Does one piece after the other."""
        for future in futures:
            future.result()
            yield future


class _SerialFuture(Generic[R]):
    def __init__(self, function: Callable[..., R], arguments: Sequence[Any]) -> None:
        self._work: tuple[Callable[..., R], Sequence[Any]] | None = (function, arguments)
        self._result: R

    def result(self) -> R:
        if self._work is not None:
            function, arguments = self._work
            self._result = function(
                *(each.result() if isinstance(each, _SerialFuture) else each for each in arguments)
            )
            self._work = None  # the arguments may be large
        return self._result
