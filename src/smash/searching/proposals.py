"""Proposing the architectures of a cohort: new ones within the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from smash.errors import InvalidValueError
from smash.profiling.budget import Budget
from smash.profiling.cost import Cost, measure_cost
from smash.runtime.rng import generator
from smash.searching.strategies import RandomSampling, Strategy
from smash.spaces import SearchSpace
from smash.spaces.task import Task
from smash.study.candidate import Candidate

_DRAWS = 1000  # for one proposal, before the search gives up
_PATIENCE = 100  # draws after which a mutation is mutated once more


@dataclass(frozen=True)
class Cohort:
    """Consecutive proposals of a strategy, all made on the same history.

    Attributes:
        strategy: The strategy.
        indices: Numbers of the proposals among those of the strategy.
        quota: The number of them that are scored; a prefilter drops the others.
    """

    strategy: Strategy[Any]
    indices: range
    quota: int

    def __str__(self) -> str:
        return f"{self.strategy.name} {self.indices.start}"


class Proposer:
    """Asks strategies for architectures that are new and within the budget.

    Args:
        space: The search space.
        task: The task of the children.
        budget: The most that a child may cost.
        seed: Seed of all proposals.
        stopwatch: Measures the seconds of an architecture's child for one input, once it is within
            all other limits; None measures none.
        measure_ahead: Measures several for the stopwatch at once; None if it cannot.
    """

    def __init__(
        self,
        space: SearchSpace[Any],
        task: Task,
        budget: Budget,
        seed: int,
        stopwatch: Callable[[Any], float] | None = None,
        measure_ahead: Callable[[Sequence[Any]], None] | None = None,
    ) -> None:
        self._space, self._task, self._budget, self._seed = space, task, budget, seed
        self._stopwatch, self._measure_ahead = stopwatch, measure_ahead

    def time_ahead(
        self,
        strategy: Strategy[Any],
        history: Sequence[Candidate],
        indices: Iterable[int],
        seen: Collection[str],
    ) -> None:
        """Times at once, if devices can, what `propose` will time first of several proposals.

        The proposals stay the same: whatever else they need is timed when they are made.
        """
        if self._measure_ahead is None:
            return
        first = []
        for index in indices:
            draws = self._draws(strategy, history, index, seen)
            found = next((each for each, _, cost in draws if cost is not None), None)
            if found is None:
                break  # as `propose` will
            first.append(found)
        self._measure_ahead(first)

    def propose(
        self,
        strategy: Strategy[Any],
        history: Sequence[Candidate],
        index: int,
        seen: Collection[str],
    ) -> Candidate | None:
        """Makes one proposal; None if no further architecture is found.

        Where all mutations of an architecture were seen before or exceed the budget, as happens
        near a tight limit, mutations of those mutations are tried, and so on.

        Args:
            strategy: The strategy.
            history: The candidates of all earlier cohorts.
            index: Number of the proposal among those of the strategy.
            seen: Ids of architectures that must not be proposed again.

        Raises:
            InvalidValueError: No architecture of many is within the budget, and none was seen.
        """
        exceeds, fastest = False, math.inf
        for architecture, identity, cost in self._draws(strategy, history, index, seen):
            if cost is not None:
                latency = self._stopwatch(architecture) if self._stopwatch else None
                if latency is None or self._budget.allows_latency(latency):
                    return Candidate(
                        id=identity,
                        architecture=architecture,
                        strategy=strategy.name,
                        index=index,
                        **vars(cost),
                        latency=latency,
                    )
                fastest = min(fastest, latency)
            exceeds = True
        if seen or not exceeds:  # all that are within the budget were seen
            return None
        cheapest = measure_cost(self._space, self._space.smallest(), self._task)
        timed = f"; the fastest takes {1000 * fastest:.3g} ms" if fastest < math.inf else ""
        raise InvalidValueError(
            f"none of {_DRAWS} sampled architectures is within the limits; the smallest of the "
            f"space has {cheapest.params:,} parameters, {cheapest.macs:,} MACs, "
            f"{cheapest.memory:,} bytes of activations and {cheapest.flash:,} bytes of "
            f"flash{timed}: raise the limit"
        )

    def _draws(
        self,
        strategy: Strategy[Any],
        history: Sequence[Candidate],
        index: int,
        seen: Collection[str],
    ) -> Iterator[tuple[Any, str, Cost | None]]:
        """Draws architectures of a proposal that are new, with their ids.

        Yields:
            Architecture, id, and cost; None instead if it exceeds a limit that is counted.
        """
        rng = generator(self._seed, f"{strategy.name} proposal", index)
        mutates = strategy.name != RandomSampling.name
        for draw in range(_DRAWS):
            (architecture,) = strategy.propose(history, rng, 1)
            for _ in range(draw // _PATIENCE if mutates else 0):
                architecture = self._space.mutate(architecture, rng)
            identity = self._space.identify(architecture)
            if identity not in seen:
                child = self._space.build(architecture, self._task)
                yield architecture, identity, self._budget.cost_within(child, self._task)
