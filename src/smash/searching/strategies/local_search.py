"""Changes of the best architecture drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smash.errors import InvalidValueError
from smash.searching.strategies.base import A, Scored, Strategy, best
from smash.spaces import SearchSpace


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


class MarkovChain(Perturbation[A]):
    """Begins at the best architecture so far and moves to each change that is strictly better.

    Where the chain is follows from the history alone, so a search can be resumed anywhere.
    """

    name = "markov"
    cohort = 1

    def base(self, history: Sequence[Scored[A]]) -> Scored[A]:
        """Where the chain is: at the first of the best so far."""
        return best(history)


class GradientPerturbation(Perturbation[A]):
    """Draws several changes of the base and proposes the one with the steepest descent.

    The encoding is discrete, so a step along the gradient is seldom an architecture. Instead, the
    first-order change of the loss is computed for changes that are valid.

    Args:
        space: The search space.
        rate: Probability that a setting is redrawn.
        pool: Changes to choose from.
    """

    name = "gradient"

    def __init__(self, space: SearchSpace[A], rate: float = 0.05, pool: int = 16) -> None:
        super().__init__(space, rate)
        self._pool = pool

    def propose(self, history: Sequence[Scored[A]], rng: np.random.Generator) -> A:
        """Gives the change of the base that lowers the loss the most, to first order."""
        base = self.base(history)
        if base.slope is None:
            raise InvalidValueError("strategy 'gradient' needs scores that carry a gradient")
        slope = base.slope()
        drawn = [self._change(base, rng) for _ in range(self._pool)]
        return min(drawn, key=slope)
