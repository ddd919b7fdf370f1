"""Changes of the best architecture drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smash.spaces import SearchSpace
from smash.strategies.base import A, Scored, Strategy, best


class Perturbation(Strategy[A]):
    """Changes the best of the random architectures, always the same one.

    Args:
        space: The search space.
        rate: Probability that a setting is redrawn.
    """

    name = "perturb"
    cohort = 100

    def __init__(self, space: SearchSpace[A], rate: float = 0.05) -> None:
        self._space, self._rate = space, rate

    def base(self, history: Sequence[Scored[A]]) -> Scored[A]:
        """The architecture to change."""
        return best([one for one in history if one.strategy == "random"] or history)

    def propose(self, history: Sequence[Scored[A]], rng: np.random.Generator) -> A:
        """Changes the base."""
        return self._change(self.base(history), rng)

    def _change(self, base: Scored[A], rng: np.random.Generator) -> A:
        return self._space.mutate(base.architecture, rng, self._rate)
