"""Changes of the best architecture that the gradient of the loss speaks for.

The paper calls it architectural gradient descent by proxy: the gradient of the validation loss with
respect to the encoding says which settings to change. (Brock et al. 2017, appendix.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smash.errors import InvalidValueError
from smash.spaces import SearchSpace
from smash.strategies.base import A, Scored
from smash.strategies.perturbation import Perturbation


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
