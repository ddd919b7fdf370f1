"""Several objectives at once: NSGA-II (Deb, Pratap, Agarwal and Meyarivan 2002)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smash.errors import InvalidValueError
from smash.searching import pareto
from smash.searching.strategies.base import A, Scored, Strategy
from smash.spaces import SearchSpace


class Nsga2(Strategy[A]):
    """Changes the better of two of the best, where better is first the front, then being alone.

    Parents are the best of *all* that was scored, and not only of the last generation: a score
    costs too much to forget one. Architectures of different sizes do not cross, so there is
    mutation only.

    Args:
        space: The search space.
        rate: Probability that a setting is redrawn.
        population: How many may be parents.
    """

    name = "nsga2"
    cohort = 10

    def __init__(self, space: SearchSpace[A], rate: float = 0.05, population: int = 20) -> None:
        self._space, self._rate, self._population = space, rate, population

    def parents(self, history: Sequence[Scored[A]]) -> list[Scored[A]]:
        """Who may be changed, the best first."""
        if not all(one.objectives for one in history):
            raise InvalidValueError("strategy 'nsga2' needs scores of two objectives or more")
        ranked = pareto.order([one.objectives for one in history])
        return [history[index] for index in ranked[: self._population]]

    def propose(self, history: Sequence[Scored[A]], rng: np.random.Generator) -> A:
        """Changes the winner of a tournament of two."""
        parents = self.parents(history)
        first = rng.choice(len(parents), min(2, len(parents)), replace=False).min()
        return self._space.mutate(parents[first].architecture, rng, self._rate)
