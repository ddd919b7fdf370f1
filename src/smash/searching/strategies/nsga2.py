"""NSGA-II for several objectives (Deb, Pratap, Agarwal and Meyarivan 2002)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smash.searching import pareto
from smash.searching.objectives import objective_values
from smash.searching.strategies.base import A, Selection, Strategy
from smash.spaces import SearchSpace
from smash.study.candidate import Candidate


class Nsga2(Strategy[A]):
    """Mutates the winner of a tournament of two, by Pareto rank and then by crowding distance.

    Parents are the best of *all* candidates, not only of the last generation: a score costs too
    much to be forgotten. Architectures of different sizes do not cross over, so there is mutation
    only.

    Args:
        space: The search space.
        objectives: Names of the objectives, two or more; see `smash.searching.objectives`.
        rate: Probability that a setting of the architecture is redrawn.
        population: The number of parents.

    Example:
        >>> from smash import NasBench201Space
        >>> Nsga2(NasBench201Space(), ["error", "params"]).name
        'nsga2'
    """

    name = "nsga2"
    cohort = 10

    def __init__(
        self,
        space: SearchSpace[A],
        objectives: Sequence[str],
        rate: float = 0.05,
        population: int = 20,
    ) -> None:
        self._space, self._objectives = space, objectives
        self._rate, self._population = rate, population
        self._parents = Selection(self.parents)

    def parents(self, history: Sequence[Candidate]) -> list[Candidate]:
        """Returns the candidates that may be mutated, the best first."""
        order = pareto.nsga2_order([objective_values(each, self._objectives) for each in history])
        return [history[index] for index in order[: self._population]]

    def propose(self, history: Sequence[Candidate], rng: np.random.Generator, n: int) -> list[A]:
        """Mutates winners of tournaments."""
        parents = self._parents(history)
        proposals = []
        for _ in range(n):
            first = rng.choice(len(parents), min(2, len(parents)), replace=False).min()
            proposals.append(self._space.mutate(parents[first].architecture, rng, self._rate))
        return proposals
