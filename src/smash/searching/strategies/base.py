"""The base of search strategies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from smash.study.candidate import Candidate

A = TypeVar("A")
R = TypeVar("R")


class Strategy(ABC, Generic[A]):
    """Proposes architectures from the candidates scored so far.

    The sequence of calls: a search works through one cohort of proposals after another. For each
    proposal it calls `propose` with the candidates of all earlier cohorts and a random generator
    of that proposal, and again with the same generator if the architecture was scored before or
    exceeds the budget. So the proposals of a cohort can be scored in any order, or at once. A
    strategy never sees a model, a disk or a device.

    Attributes:
        name: Its name in studies and tables.
        cohort: The number of proposals that are made on the same history.

    Example:
        >>> class MutateTheBest(Strategy):
        ...     name, cohort = "mutate-the-best", 10
        ...
        ...     def __init__(self, space):
        ...         self._space = space
        ...
        ...     def propose(self, history, rng, n):
        ...         base = best(history).architecture
        ...         return [self._space.mutate(base, rng) for _ in range(n)]
        >>> from smash import Candidate, NasBench201Space
        >>> from smash.scoring.score import Score
        >>> space = NasBench201Space()
        >>> score = Score(
        ...     error=0.1, top5_error=0.0, loss=0.4, rank_by="loss", split="val", examples=250
        ... )
        >>> base = Candidate(
        ...     id="a", architecture=space.smallest(), strategy="random", index=0, params=10,
        ...     macs=100, memory=64, flash=10, score=score,
        ... )
        >>> len(MutateTheBest(space).propose([base], np.random.default_rng(0), n=3))
        3
    """

    name: str
    cohort: int

    @abstractmethod
    def propose(self, history: Sequence[Candidate], rng: np.random.Generator, n: int) -> list[A]:
        """Proposes architectures to score.

        Args:
            history: The settled candidates of earlier cohorts, in the order of their commits.
            rng: Random generator.
            n: The number of architectures to propose.
        """


class Selection(Generic[R]):
    """Selects from a history once for all proposals of a cohort, which are made on the same one.

    So a proposal takes no longer where the history is long.

    Args:
        select: Selects from a history.

    Example:
        >>> last = Selection(lambda history: history[-1])
        >>> last(["first", "second"])
        'second'
    """

    def __init__(self, select: Callable[[Sequence[Candidate]], R]) -> None:
        self._select = select
        self._history: Sequence[Candidate] | None = None
        self._length = 0
        self._selected: R

    def __call__(self, history: Sequence[Candidate]) -> R:
        """Returns what was selected from this history, or selects it."""
        if history is not self._history or len(history) != self._length:
            self._selected = self._select(history)
            self._history, self._length = history, len(history)
        return self._selected


def best(candidates: Sequence[Candidate]) -> Candidate:
    """Returns the candidate that ranks first, the first of equals."""
    return min(candidates, key=lambda candidate: candidate.comparable_value)
