"""Random architectures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smash.searching.strategies.base import A, Scored, Strategy
from smash.spaces import SearchSpace


class RandomSampling(Strategy[A]):
    """Draws from the whole space."""

    name = "random"
    cohort = 100

    def __init__(self, space: SearchSpace[A]) -> None:
        self._space = space

    def propose(self, history: Sequence[Scored[A]], rng: np.random.Generator) -> A:
        """Draws an architecture; the history does not matter."""
        return self._space.sample(rng)
