"""Regularised evolution: changes of the best of a few, in a population whose oldest die.

(Real, Aggarwal, Huang and Le 2019, algorithm 1.) Death by age and not by score keeps an
architecture that was lucky once from breeding for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smash.searching.strategies.base import A, Scored, Strategy, best
from smash.spaces import SearchSpace


class RegularisedEvolution(Strategy[A]):
    """Changes the best of a random few of the youngest candidates.

    Those that others proposed found the population. All of them are there at once, so the best of
    them are taken for the youngest: they live longest.

    Args:
        space: The search space.
        rate: Probability that a setting is redrawn.
        population: How many live.
        tournament: How many of them are drawn, to change the best of those.
    """

    name = "evolution"
    cohort = 10

    def __init__(
        self,
        space: SearchSpace[A],
        rate: float = 0.05,
        population: int = 50,
        tournament: int = 10,
    ) -> None:
        self._space, self._rate = space, rate
        self._population, self._tournament = population, tournament

    def living(self, history: Sequence[Scored[A]]) -> list[Scored[A]]:
        """The population, the oldest first."""
        founders = [one for one in history if one.strategy != self.name]
        founders.sort(key=lambda one: one.value, reverse=True)
        children = [one for one in history if one.strategy == self.name]
        # By birth, and not by when each was scored: that depends on who scores them.
        children.sort(key=lambda one: one.index)
        return [*founders, *children][-self._population :]

    def propose(self, history: Sequence[Scored[A]], rng: np.random.Generator) -> A:
        """Changes the winner of a tournament."""
        living = self.living(history)
        drawn = rng.choice(len(living), min(self._tournament, len(living)), replace=False)
        winner = best([living[index] for index in sorted(drawn)])
        return self._space.mutate(winner.architecture, rng, self._rate)
