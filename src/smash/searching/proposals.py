"""What a cohort is made of: architectures that are new and within the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from smash.errors import InvalidValueError
from smash.profiling.budget import Budget
from smash.profiling.cost import Cost, measure_cost
from smash.runtime.rng import generator
from smash.searching.strategies import Scored, Strategy
from smash.spaces import SearchSpace
from smash.spaces.task import Task

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
        latency: Seconds of its child for one input, where that is limited.
    """

    strategy: str
    index: int
    id: str
    architecture: Any
    cost: Cost
    latency: float | None = None


class Proposer:
    """Asks strategies for architectures that are new and within the budget.

    Args:
        space: The search space.
        task: What children are for.
        budget: What they may cost.
        seed: Seed of all proposals.
        stopwatch: Gives seconds of an architecture's child for one input; asked only where the
            budget limits them, of what is within all other limits.
    """

    def __init__(
        self,
        space: SearchSpace[Any],
        task: Task,
        budget: Budget,
        seed: int,
        stopwatch: Callable[[Any], float] | None = None,
    ) -> None:
        self._space, self._task, self._budget, self._seed = space, task, budget, seed
        self._stopwatch = None if budget.max_latency is None else stopwatch

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
        fastest = math.inf
        for _ in range(_DRAWS):
            architecture = strategy.propose(history, rng)
            identity = self._space.identify(architecture)
            if identity in seen:
                continue
            cost = measure_cost(self._space, architecture, self._task)
            if self._budget.allows(cost):
                latency = self._stopwatch(architecture) if self._stopwatch else None
                if latency is None or self._budget.allows_latency(latency):
                    return Proposal(
                        strategy=strategy.name,
                        index=index,
                        id=identity,
                        architecture=architecture,
                        cost=cost,
                        latency=latency,
                    )
                fastest = min(fastest, latency)
            if cheapest is None or cost.params < cheapest.params:
                cheapest = cost
        if cheapest is None:
            return None
        timed = f"; the fastest takes {1000 * fastest:.3g} ms" if fastest < math.inf else ""
        raise InvalidValueError(
            f"none of {_DRAWS} architectures drawn is within the limits; the smallest of them has "
            f"{cheapest.params:,} parameters and {cheapest.macs:,} MACs{timed}: raise the limit"
        )
