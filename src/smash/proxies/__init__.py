"""Training-free scores of child networks, for any search space: baselines and companions."""

from smash.proxies.az_nas import AzNas
from smash.proxies.base import Proxy, Subject
from smash.proxies.companions import (
    COMPANIONS,
    COSTS,
    PRIORS,
    PROXIES,
    Numbers,
    Prefilter,
    alone,
    check_companion,
    choose_prior,
    together,
)
from smash.proxies.naswot import Naswot
from smash.proxies.synflow import Synflow

__all__ = [
    "COMPANIONS",
    "COSTS",
    "PRIORS",
    "PROXIES",
    "AzNas",
    "Naswot",
    "Numbers",
    "Prefilter",
    "Proxy",
    "Subject",
    "Synflow",
    "alone",
    "check_companion",
    "choose_prior",
    "together",
]
