"""Sampling of architectures within a budget, quick where few of them are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from smash.profiling.budget import Budget
from smash.runtime.rng import generator
from smash.spaces.base import SearchSpace
from smash.spaces.parameters import count_parameters
from smash.spaces.task import Task

ENOUGH = 0.25
"""Share of the architectures within a budget from which plain draws soon find one."""

_POOL = 128  # architectures
_DRAWS_EACH = round(1 / ENOUGH)  # by which the pool is filled, if enough of them are feasible
_TRIED = 32  # plain draws that tell whether enough are
_RATE = 0.1
_THINNING = 8  # steps of the chain after which little is left of an architecture
_BURN_IN = 64


class FeasibleSampler:
    """Draws architectures of a space that are within limits on what is counted.

    A pool of feasible architectures is drawn once. Each draw takes a member and mutates it; the
    mutant counts if it is feasible, and the member otherwise. Where enough architectures are
    feasible, the pool holds plain draws of the space that were feasible, so it follows the
    distribution of the space given that the limits hold. Where few are, it holds states of a Markov
    chain from the smallest architecture, whose steps are such mutations: it has this distribution
    in the limit, as far as a mutation is as likely as its reverse.

    Args:
        space: The search space.
        task: The task that children are built for.
        budget: Limits on costs that are counted; the smallest architecture must be within them.
        seed: Seed of the pool.
        pool: Number of architectures in the pool; by default 128.

    Example:
        >>> from smash import NasBench201Space, Task
        >>> from smash.profiling.cost import measure_cost
        >>> space, task = NasBench201Space(), Task(channels=3, size=(32, 32), classes=10)
        >>> sampler = FeasibleSampler(space, task, Budget(max_params=200_000), seed=0, pool=8)
        >>> architecture = sampler.draw(np.random.default_rng(0))
        >>> measure_cost(space, architecture, task).params <= 200_000
        True
    """

    def __init__(
        self,
        space: SearchSpace[Any],
        task: Task,
        budget: Budget,
        seed: int,
        pool: int | None = None,
    ) -> None:
        self._space, self._task, self._budget = space, task, budget
        self._pool = self._fill(pool or _POOL, generator(seed, "pool of feasible architectures", 0))

    def draw(self, rng: np.random.Generator, steps: int = 1) -> Any:
        """Draws an architecture within the limits.

        Args:
            rng: Source of randomness.
            steps: Mutations of the member of the pool; more of them leave less of it.
        """
        architecture = self._pool[int(rng.integers(len(self._pool)))]
        for _ in range(steps):
            architecture = self._step(architecture, rng)
        return architecture

    def _fill(self, size: int, rng: np.random.Generator) -> list[Any]:
        pool: list[Any] = []
        for _ in range(_DRAWS_EACH * size):
            architecture = self._space.sample(rng)
            if self._allows(architecture):
                pool.append(architecture)
                if len(pool) == size:
                    return pool
        state = self._space.smallest()
        for _ in range(_BURN_IN):
            state = self._step(state, rng)
        while len(pool) < size:
            for _ in range(_THINNING):
                state = self._step(state, rng)
            pool.append(state)
        return pool

    def _step(self, architecture: Any, rng: np.random.Generator) -> Any:
        mutant = self._space.mutate(architecture, rng, _RATE)
        return mutant if self._allows(mutant) else architecture

    def _allows(self, architecture: Any) -> bool:
        return _is_within(self._space, architecture, self._task, self._budget)


def sampler_within(
    space: SearchSpace[Any], task: Task, budget: Budget, seed: int
) -> FeasibleSampler | None:
    """Makes the sampler of a budget; None where it has no limit."""
    return FeasibleSampler(space, task, budget, seed) if budget.counted else None


def share_within(space: SearchSpace[Any], task: Task, budget: Budget, seed: int) -> float:
    """Estimates which share of the architectures of a space is within a budget, 0…1."""
    if not budget.counted:
        return 1.0
    rng = generator(seed, "share of feasible architectures", 0)
    return sum(_is_within(space, space.sample(rng), task, budget) for _ in range(_TRIED)) / _TRIED


def quick_draw(
    space: SearchSpace[Any], task: Task, budget: Budget, seed: int
) -> Callable[[np.random.Generator], Any] | None:
    """Gives a function that draws within a budget that few architectures meet.

    Returns:
        The function; None where enough architectures are within the budget.
    """
    if share_within(space, task, budget, seed) >= ENOUGH:
        return None
    return partial(FeasibleSampler(space, task, budget, seed).draw, steps=_THINNING)


def _is_within(space: SearchSpace[Any], architecture: Any, task: Task, budget: Budget) -> bool:
    child = space.build(architecture, task)
    if budget.counted.keys() == {"params"}:
        return count_parameters(child) <= budget.counted["params"]
    return budget.cost_within(child, task) is not None
