"""Zero-cost proxies: scores of a child network that take no training of it.

The two oldest, the numbers of parameters and of MACs, are counted by `smash.profiling.cost`.
"""

from collections.abc import Mapping

from smash.scoring.proxies.az_nas import AzNas
from smash.scoring.proxies.base import Proxy, Subject
from smash.scoring.proxies.naswot import Naswot
from smash.scoring.proxies.swap import Swap
from smash.scoring.proxies.synflow import GeneratedSynflow, Synflow

PROXIES: Mapping[str, Proxy] = {
    proxy.name: proxy for proxy in (Naswot(), Swap(), Synflow(), AzNas(), GeneratedSynflow())
}
"""Proxies that look at a child's features, weights or gradients, by name."""

__all__ = [
    "PROXIES",
    "AzNas",
    "GeneratedSynflow",
    "Naswot",
    "Proxy",
    "Subject",
    "Swap",
    "Synflow",
]
