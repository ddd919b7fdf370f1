"""Limits on what a child network may cost."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from smash.config import Settings
from smash.errors import InvalidValueError
from smash.profiling.cost import Cost, measure_cost
from smash.spaces.base import SearchSpace
from smash.spaces.task import Task

_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}


def parse_latency(text: str) -> float:
    """Reads a time with its unit, such as ``5ms`` or ``0.005s``, in seconds.

    Raises:
        InvalidValueError: The text is not a positive time with a unit.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*(s|ms|us|µs)\s*", text)
    try:
        seconds = float(match[1]) * _UNITS[match[2]] if match else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidValueError(
            f"max_latency must be a positive time with its unit, such as 5ms or 0.005s, "
            f"got {text!r:.60}"
        )
    return seconds


LatencyLimit = Annotated[
    float,
    BeforeValidator(lambda limit: parse_latency(limit) if isinstance(limit, str) else limit),
    Field(gt=0, allow_inf_nan=False),
]
"""Seconds, given as a number or as `parse_latency` reads it."""


class Budget(Settings):
    """The most that a child network may cost; a limit of None allows everything.

    Attributes:
        max_params: Parameters.
        max_macs: Multiply-accumulates for one input.
        max_latency: Seconds for one input, measured on this machine's device; also as text such as
            ``5ms``.

    Example:
        >>> budget = Budget(max_params=30_000, max_latency="5ms")
        >>> budget.allows(Cost(params=29_000, macs=1_000_000))
        True
        >>> budget.max_latency
        0.005
    """

    max_params: Annotated[int, Field(ge=1)] | None = None
    max_macs: Annotated[int, Field(ge=1)] | None = None
    max_latency: LatencyLimit | None = None

    def allows(self, cost: Cost) -> bool:
        """Tells whether a child with these parameters and MACs is within the budget."""
        return (self.max_params is None or cost.params <= self.max_params) and (
            self.max_macs is None or cost.macs <= self.max_macs
        )

    def allows_latency(self, seconds: float) -> bool:
        """Tells whether a child that takes this time for one input is within the budget."""
        return self.max_latency is None or seconds <= self.max_latency

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
        if self.max_params is self.max_macs is self.max_latency is None:
            return
        smallest = space.smallest()
        cost = measure_cost(space, smallest, task)
        faults = [
            f"{name} {limit:,} cannot be met: the smallest architecture of this space needs "
            f"{needed:,}; raise the limit to that or more"
            for name, limit, needed in (
                ("max_params", self.max_params, cost.params),
                ("max_macs", self.max_macs, cost.macs),
            )
            if limit is not None and limit < needed
        ]
        if faults:
            raise InvalidValueError(*faults)
        if self.max_latency is None or latency is None:
            return
        seconds = latency(smallest, self.max_latency)
        if not self.allows_latency(seconds):
            raise InvalidValueError(
                f"max_latency {1000 * self.max_latency:g} ms cannot be met: the smallest "
                f"architecture of this space takes {1000 * seconds:.3g} ms on this machine; raise "
                "the limit, search while nothing else runs, or choose a smaller space or another "
                "--device"
            )
