"""Random search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from smash.searching.strategies.base import A, Strategy
from smash.spaces import SearchSpace
from smash.study.candidate import Candidate


class RandomSampling(Strategy[A]):
    """Samples from the whole space, or from the part of it that is within limits.

    Args:
        space: The search space.
        draw: Draws an architecture within limits that few architectures meet.

    Example:
        >>> from smash import NasBench201Space
        >>> strategy = RandomSampling(NasBench201Space())
        >>> len(strategy.propose([], np.random.default_rng(0), n=2))
        2
    """

    name = "random"
    cohort = 100

    def __init__(
        self, space: SearchSpace[A], draw: Callable[[np.random.Generator], A] | None = None
    ) -> None:
        self._draw = draw or space.sample

    def propose(self, history: Sequence[Candidate], rng: np.random.Generator, n: int) -> list[A]:
        """Samples architectures, whatever the history."""
        return [self._draw(rng) for _ in range(n)]
