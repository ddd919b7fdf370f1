"""Where work is done: here, piece after piece, or on the machines of a Ray cluster.

A search scores the candidates of a cohort, and a retraining trains children, by handing pieces of
work to a fleet. What is handed out, in which order results are used, and who writes them down is
the same for any fleet; so the results are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, Generic, Protocol, Self, TypeVar

import torch

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Job(Protocol[R_co]):
    """A piece of work that was handed to a fleet."""

    def result(self) -> R_co:
        """Waits for what the work gives."""

    @property
    def kept(self) -> Any:
        """What the work leaves behind where it was done, as an argument of further work."""


class Movable(Protocol):
    """What all pieces of work need, such as networks: it is sent to each machine once."""

    def to(self, device: torch.device) -> Self:
        """The same for work on a device."""


class Fleet(Protocol):
    """Does work, by plain functions of a module: ``work(*arguments) -> (result, kept)``."""

    def share(self, value: Movable) -> Any:
        """Sends a value to wherever work is done; gives an argument that stands for it."""

    def submit(self, work: Callable[..., tuple[R, Any]], *arguments: Any) -> Job[R]:
        """Hands out a piece of work.

        Args:
            work: The function.
            *arguments: Plain values, what `share` gave, and what earlier work has `kept`.
        """

    def as_done(self, jobs: Sequence[Job[R]]) -> Iterator[tuple[int, R]]:
        """Gives the number and the result of each job, as soon as it is there."""


class _Here:
    """This process. A piece of work is done when its result is asked for."""

    def share(self, value: Movable) -> Movable:
        """Gives the value itself: it is here already."""
        return value

    def submit(self, work: Callable[..., tuple[R, Any]], *arguments: Any) -> Job[R]:
        """Notes a piece of work."""
        return _Later(partial(work, *arguments))

    def as_done(self, jobs: Sequence[Job[R]]) -> Iterator[tuple[int, R]]:
        """Does one after the other."""
        return ((number, job.result()) for number, job in enumerate(jobs))


HERE = _Here()


class _Later(Generic[R]):
    def __init__(self, work: Callable[[], tuple[R, Any]]) -> None:
        self._work = work

    @cached_property
    def _done(self) -> tuple[R, Any]:
        return self._work()

    def result(self) -> R:
        return self._done[0]

    @property
    def kept(self) -> Any:
        return self._done[1]
