"""What a strategy is: it says which architecture to look at next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

A = TypeVar("A")


@dataclass(frozen=True)
class Scored(Generic[A]):
    """An architecture of the history.

    Attributes:
        architecture: The architecture.
        value: Its score; lower is better.
        strategy: Which strategy proposed it.
        slope: Computes the gradient of the loss with respect to the encoding, where there is one;
            it gives what a change to another architecture would do to the loss, to first order.
        index: Which proposal of that strategy it was.
        objectives: The values of several objectives, less is better in each; empty where there is
            but one.
    """

    architecture: A
    value: float
    strategy: str
    slope: Callable[[], Callable[[A], float]] | None = None
    index: int = 0
    objectives: tuple[float, ...] = ()


class Strategy(ABC, Generic[A]):
    """Proposes architectures from those scored so far.

    The search asks for one proposal after the other, each with a generator of its own. Proposals
    of a cohort see the same history, so that they can be scored in any order, or side by side. A
    strategy never sees a model, a disk or a device.

    Attributes:
        name: Its name in studies and tables.
        cohort: How many proposals may be made on the same history.
    """

    name: str
    cohort: int

    @abstractmethod
    def propose(self, history: Sequence[Scored[A]], rng: np.random.Generator) -> A:
        """Gives an architecture to score.

        Args:
            history: All that was scored in earlier cohorts, in order.
            rng: Source of randomness. Where a proposal is redrawn, since it was scored already or
                is over the budget, the next call goes on with the same generator.
        """


def best(scored: Sequence[Scored[A]]) -> Scored[A]:
    """The first of those with the lowest value."""
    return min(scored, key=lambda one: one.value)
