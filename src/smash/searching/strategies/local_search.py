"""Local search: mutations of the best random architecture, and of the best so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from smash.searching.strategies.base import A, Selection, Strategy, best
from smash.searching.strategies.random import RandomSampling
from smash.spaces import SearchSpace
from smash.study.candidate import Candidate

Slope = Callable[[A], float]
"""The first-order change of the loss from a base architecture to another one."""


class Perturbation(Strategy[A]):
    """Mutates the best random architecture, always the same one.

    Args:
        space: The search space.
        rate: Probability that a setting of the architecture is redrawn.

    Example:
        >>> from smash import NasBench201Space
        >>> Perturbation(NasBench201Space(), rate=0.1).name
        'perturb'
    """

    name = "perturb"
    cohort = 100

    def __init__(self, space: SearchSpace[A], rate: float = 0.05) -> None:
        self._space, self._rate = space, rate
        self._base = Selection(best_random)

    def propose(self, history: Sequence[Candidate], rng: np.random.Generator, n: int) -> list[A]:
        """Mutates the best random architecture."""
        base = self._base(history).architecture
        return [self._space.mutate(base, rng, self._rate) for _ in range(n)]


class MarkovChain(Strategy[A]):
    """Mutates the best architecture so far, so it moves to each mutation that is strictly better.

    Its position follows from the history alone, so that a search can be resumed anywhere.

    Args:
        space: The search space.
        rate: Probability that a setting of the architecture is redrawn.

    Example:
        >>> from smash import NasBench201Space
        >>> MarkovChain(NasBench201Space()).cohort  # each step depends on the one before
        1
    """

    name = "markov"
    cohort = 1

    def __init__(self, space: SearchSpace[A], rate: float = 0.05) -> None:
        self._space, self._rate = space, rate
        self._base = Selection(best)

    def propose(self, history: Sequence[Candidate], rng: np.random.Generator, n: int) -> list[A]:
        """Mutates the best architecture so far, the first of equals."""
        base = self._base(history).architecture
        return [self._space.mutate(base, rng, self._rate) for _ in range(n)]


class GradientPerturbation(Strategy[A]):
    """Draws a pool of perturbations and proposes the one with the steepest descent of the loss.

    Encodings are discrete, so a step along the gradient is rarely an architecture. Instead, the
    first-order change of the loss is computed for valid mutations.

    Args:
        space: The search space.
        slope: Computes the gradient of the loss at an architecture; see `Scorer.slope`.
        rate: Probability that a setting of the architecture is redrawn.
        pool: The number of perturbations to choose from.

    Example:
        >>> from smash import MemoryBankSpace
        >>> space = MemoryBankSpace()
        >>> GradientPerturbation(space, lambda base: lambda other: 0.0, pool=8).name
        'gradient'
    """

    name = "gradient"
    cohort = 100

    def __init__(
        self,
        space: SearchSpace[A],
        slope: Callable[[A], Slope[A]],
        rate: float = 0.05,
        pool: int = 16,
    ) -> None:
        self._perturbation = Perturbation(space, rate)
        self._slope = lru_cache(maxsize=1)(slope)  # all proposals have the same base
        self._pool = pool
        self._base = Selection(best_random)

    def propose(self, history: Sequence[Candidate], rng: np.random.Generator, n: int) -> list[A]:
        """Proposes of each pool the perturbation that lowers the loss most, to first order."""
        slope = self._slope(self._base(history).architecture)
        pools = (self._perturbation.propose(history, rng, self._pool) for _ in range(n))
        return [min(pool, key=slope) for pool in pools]


def best_random(history: Sequence[Candidate]) -> Candidate:
    """Returns the best of the random architectures; of all if there are none."""
    return best([each for each in history if each.strategy == RandomSampling.name] or history)
