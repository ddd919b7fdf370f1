"""Limits on what a child network may cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from smash.config import Settings
from smash.errors import InvalidValueError
from smash.io.units import Bytes, Seconds
from smash.profiling.cost import Cost, cost_of, measure_cost
from smash.profiling.names import COUNTED
from smash.spaces.base import SearchSpace
from smash.spaces.parameters import count_parameters
from smash.spaces.task import Task


class Budget(Settings):
    """The most that a child network may cost; a limit of None allows everything.

    Attributes:
        max_params: Parameters.
        max_macs: Multiply-accumulates for one input.
        max_memory: Bytes of RAM for the activations of one input in int8; also as text such as
            ``64KiB``.
        max_flash: Bytes of the weights and the graph in int8; also as text such as ``100KB``.
        max_latency: Seconds for one input, measured; also as text such as ``5ms``.

    Example:
        >>> budget = Budget(max_params=30_000, max_memory="64KiB", max_latency="5ms")
        >>> budget.allows(Cost(params=29_000, macs=1_000_000, memory=60_000, flash=40_000))
        True
        >>> budget.max_latency
        0.005
    """

    max_params: Annotated[int, Field(ge=1)] | None = None
    max_macs: Annotated[int, Field(ge=1)] | None = None
    max_memory: Bytes | None = None
    max_flash: Bytes | None = None
    max_latency: Seconds | None = None

    @property
    def counted(self) -> dict[str, int]:
        """The limits on costs that are counted, by the name of the cost."""
        limits = {name: getattr(self, f"max_{name}") for name in COUNTED}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def allows(self, cost: Cost) -> bool:
        """Tells whether a child is within the limits on costs that are counted."""
        return all(getattr(cost, name) <= limit for name, limit in self.counted.items())

    def cost_within(self, child: nn.Module, task: Task) -> Cost | None:
        """Measures the costs of a child on the meta device; None where one exceeds its limit.

        Parameters are counted first: the other costs take far longer.
        """
        if self.max_params is not None and count_parameters(child) > self.max_params:
            return None
        cost = cost_of(child, task)
        return cost if self.allows(cost) else None

    def allows_latency(self, seconds: float) -> bool:
        """Tells whether a child that takes this time for one input is within the budget.

        A time that is infinite, that of a child that does not run, never is.
        """
        return seconds < math.inf and (self.max_latency is None or seconds <= self.max_latency)

    def check_feasible(
        self,
        space: SearchSpace[Any],
        task: Task,
        latency: Callable[[Any, float], float] | None = None,
    ) -> None:
        """Makes sure that the smallest architecture of a space is within the budget.

        Args:
            space: The search space.
            task: The task that children are built for.
            latency: Measures the latency of an architecture in seconds; of times above its second
                argument it need not keep a record.

        Raises:
            InvalidValueError: No architecture can be within the budget.
        """
        if not self.counted and self.max_latency is None:
            return
        smallest = space.smallest()
        cost = measure_cost(space, smallest, task)
        faults = [
            f"max_{name} {limit:,} cannot be met: the smallest architecture of this space needs "
            f"{needed:,}; raise the limit to that or more"
            for name, limit in self.counted.items()
            if limit < (needed := getattr(cost, name))
        ]
        if faults:
            raise InvalidValueError(*faults)
        if self.max_latency is None or latency is None:
            return
        seconds = latency(smallest, self.max_latency)
        if not self.allows_latency(seconds):
            smaller = "choose a smaller space or another device"
            takes = f"takes {1000 * seconds:.3g} ms there"
            remedy = f"raise the limit, search while nothing else runs, or {smaller}"
            if seconds == math.inf:
                takes, remedy = "does not run there", smaller
                if self.max_memory or self.max_flash:
                    takes += ", or needs more RAM or flash than the limits as measured"
            raise InvalidValueError(
                f"max_latency {1000 * self.max_latency:g} ms cannot be met: the smallest "
                f"architecture of this space {takes}; {remedy}"
            )
