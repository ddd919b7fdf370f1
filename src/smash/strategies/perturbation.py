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

    def propose(self, history: Sequence[Scored[A]], rng: np.random.Generator) -> A:
        """Changes the best architecture that was drawn at random."""
        base = best([one for one in history if one.strategy == "random"] or history)
        return self._space.mutate(base.architecture, rng, self._rate)
