"""Regularised evolution (Real, Aggarwal, Huang and Le 2019, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smash.searching.strategies.base import A, Selection, Strategy, best
from smash.spaces import SearchSpace
from smash.study.candidate import Candidate


class RegularisedEvolution(Strategy[A]):
    """Mutates the winner of a tournament in a population of the youngest candidates.

    Removing members by age and not by score keeps an architecture that was lucky once from
    breeding for ever. Candidates of other strategies found the population. They have no age of
    their own, so the best of them count as the youngest and live longest.

    Args:
        space: The search space.
        rate: Probability that a setting of the architecture is redrawn.
        population: The size of the population.
        tournament: The number of members in a tournament.

    Example:
        >>> from smash import NasBench201Space
        >>> RegularisedEvolution(NasBench201Space(), population=20).name
        'evolution'
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
        self._members = Selection(self.population)

    def population(self, history: Sequence[Candidate]) -> list[Candidate]:
        """Returns the members of the population, the oldest first."""
        founders = [each for each in history if each.strategy != self.name]
        founders.sort(key=lambda founder: founder.comparable_value, reverse=True)
        children = [each for each in history if each.strategy == self.name]
        # By proposal and not by commit: the order of commits depends on who scores them.
        children.sort(key=lambda child: child.index)
        return [*founders, *children][-self._population :]

    def propose(self, history: Sequence[Candidate], rng: np.random.Generator, n: int) -> list[A]:
        """Mutates winners of tournaments."""
        members = self._members(history)
        size = min(self._tournament, len(members))
        proposals = []
        for _ in range(n):
            drawn = rng.choice(len(members), size, replace=False)
            winner = best([members[index] for index in sorted(drawn)])
            proposals.append(self._space.mutate(winner.architecture, rng, self._rate))
        return proposals
