"""What a cohort is made of: architectures that are new and within the budget."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from smash.cost import Budget, Cost, measure
from smash.errors import InvalidValueError
from smash.randomness import generator
from smash.spaces import SearchSpace
from smash.spaces.base import Task
from smash.strategies import Scored, Strategy

_DRAWS = 1000  # for one candidate, before the search gives up


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """An architecture that a strategy proposes.

    Attributes:
        strategy: The strategy's name.
        index: Which proposal of the strategy it is.
        id: Short name of the architecture.
        architecture: The architecture.
        cost: What its child costs.
    """

    strategy: str
    index: int
    id: str
    architecture: Any
    cost: Cost


class Proposer:
    """Asks strategies for architectures that are new and within the budget.

    Args:
        space: The search space.
        task: What children are for.
        budget: What they may cost.
        seed: Seed of all proposals.
    """

    def __init__(self, space: SearchSpace[Any], task: Task, budget: Budget, seed: int) -> None:
        self._space, self._task, self._budget, self._seed = space, task, budget, seed

    def propose(
        self,
        strategy: Strategy[Any],
        history: Sequence[Scored[Any]],
        index: int,
        seen: Collection[str],
    ) -> Proposal | None:
        """Gives a proposal; None where the space has no further one.

        Args:
            strategy: Who is asked.
            history: All that was scored in earlier cohorts.
            index: Number of the proposal among those of the strategy.
            seen: Ids of architectures that are not wanted again.

        Raises:
            InvalidValueError: None of many is within the budget.
        """
        rng = generator(self._seed, f"{strategy.name} proposal", index)
        cheapest: Cost | None = None
        for _ in range(_DRAWS):
            architecture = strategy.propose(history, rng)
            identity = self._space.identify(architecture)
            if identity in seen:
                continue
            cost = measure(self._space, architecture, self._task)
            if self._budget.allows(cost):
                return Proposal(
                    strategy=strategy.name,
                    index=index,
                    id=identity,
                    architecture=architecture,
                    cost=cost,
                )
            if cheapest is None or cost.params < cheapest.params:
                cheapest = cost
        if cheapest is None:
            return None
        raise InvalidValueError(
            f"none of {_DRAWS} architectures drawn is within the limits; the smallest of them has "
            f"{cheapest.params:,} parameters and {cheapest.macs:,} MACs: raise the limit"
        )
