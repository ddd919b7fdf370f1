"""Names of costs."""

from typing import Literal, get_args

CostName = Literal["params", "macs", "memory", "flash", "latency"]
"""The name of a cost of a child."""

COSTS: tuple[CostName, ...] = get_args(CostName)

COUNTED: tuple[str, ...] = COSTS[:-1]
"""The costs that are counted; latency is measured."""
