"""Scores of children that are not trained for it, for any space: baselines and companions."""

from smash.scoring.priors import (
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
from smash.scoring.proxies.az_nas import AzNas
from smash.scoring.proxies.base import Proxy, Subject
from smash.scoring.proxies.naswot import Naswot
from smash.scoring.proxies.synflow import GeneratedSynflow, Synflow

__all__ = [
    "COMPANIONS",
    "COSTS",
    "PRIORS",
    "PROXIES",
    "AzNas",
    "GeneratedSynflow",
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
