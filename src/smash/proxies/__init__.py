"""Training-free scores of child networks, for any search space: baselines and companions."""

from collections.abc import Mapping

from smash.proxies.az_nas import AzNas
from smash.proxies.base import Proxy, Subject
from smash.proxies.naswot import Naswot
from smash.proxies.synflow import Synflow

PROXIES: Mapping[str, Proxy] = {proxy.name: proxy for proxy in (Naswot(), Synflow(), AzNas())}

__all__ = ["PROXIES", "AzNas", "Naswot", "Proxy", "Subject", "Synflow"]
