"""Random search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smash.searching.strategies.base import A, Strategy
from smash.spaces import SearchSpace
from smash.study.candidate import Candidate


class RandomSampling(Strategy[A]):
    """Samples from the whole space.

    Args:
        space: The search space.

    Example:
        >>> from smash import NasBench201Space
        >>> strategy = RandomSampling(NasBench201Space())
        >>> len(strategy.propose([], np.random.default_rng(0), n=2))
        2
    """

    name = "random"
    cohort = 100

    def __init__(self, space: SearchSpace[A]) -> None:
        self._space = space

    def propose(self, history: Sequence[Candidate], rng: np.random.Generator, n: int) -> list[A]:
        """Samples architectures, whatever the history."""
        return [self._space.sample(rng) for _ in range(n)]
