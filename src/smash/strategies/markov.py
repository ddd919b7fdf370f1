"""A chain of changes that moves whenever a change is better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smash.spaces import SearchSpace
from smash.strategies.base import A, Scored, Strategy, best


class MarkovChain(Strategy[A]):
    """Begins at the best architecture so far and moves to each change that is strictly better.

    Where the chain is follows from the history alone, so a search can be resumed anywhere.

    Args:
        space: The search space.
        rate: Probability that a setting is redrawn.
    """

    name = "markov"
    cohort = 1

    def __init__(self, space: SearchSpace[A], rate: float = 0.05) -> None:
        self._space, self._rate = space, rate

    def propose(self, history: Sequence[Scored[A]], rng: np.random.Generator) -> A:
        """Changes the architecture where the chain is."""
        return self._space.mutate(best(history).architecture, rng, self._rate)
