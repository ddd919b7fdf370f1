"""A chain of changes that moves whenever a change is better."""

from __future__ import annotations

from collections.abc import Sequence

from smash.strategies.base import A, Scored, best
from smash.strategies.perturbation import Perturbation


class MarkovChain(Perturbation[A]):
    """Begins at the best architecture so far and moves to each change that is strictly better.

    Where the chain is follows from the history alone, so a search can be resumed anywhere.
    """

    name = "markov"
    cohort = 1

    def base(self, history: Sequence[Scored[A]]) -> Scored[A]:
        """Where the chain is: at the first of the best so far."""
        return best(history)
