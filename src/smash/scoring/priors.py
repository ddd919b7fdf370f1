"""Proxies beside the score: as a prior that joins it in the ranking, or as a prefilter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from smash.errors import InvalidValueError, unknown
from smash.scoring.main_effects import Choices, choices_of, paths_of, smoothed
from smash.scoring.proxy_names import (
    JOIN,
    MAIN_EFFECTS,
    PATHS,
    PROXY_NAMES,
    SIZE_PROXIES,
    SMOOTHING,
    VALUES,
)
from smash.scoring.rank_aggregation import Floats, log_ranks, relative_ranks

DEFAULT_PRIORS = {"memory-bank": None, "nas-bench-201": "paths+generated-synflow+az-nas"}
"""The prior of a search space unless the settings name another.

Chosen on the first half of a table, with three networks (benchmarks/notes/cells.md).
"""

SHARED_PRIOR = "macs"
"""The prior of spaces without one of their own: `mobile`, and functions.

Chosen on 200 networks of the first half of a table, with one network; within a limit, too, MACs
order the networks of `mobile` better than the score (benchmarks/notes/functions.md).
"""

NO_PRIOR = "none"
"""The setting for a ranking by the score alone."""

SCORE_WEIGHT = 2.0
"""Weight of the score in a joint ranking, against 1 for each proxy.

Chosen on 200 cells of the first half of a table, where it is best or close to it with each network
and each proxy (benchmarks/notes/cells.md).
"""

TOP_WEIGHT = 0.5
"""Weight of the order that the first proxy of a prior gives to the best, unless it is a size.

Chosen on the first halves of two tables (benchmarks/notes/cells.md, functions.md).
"""

TOP_WEIGHT_WITH_PATHS = 0.3
"""The same where `PATHS` smooths the score, which then orders the best better by itself."""

PREFILTER_SHARE = 0.25

_EFFECTS: dict[str, Callable[[Any], Choices]] = {MAIN_EFFECTS: choices_of, PATHS: paths_of}

ProxyValues = tuple[float, ...]
"""The values of a proxy for one architecture, higher is better; −∞ if not finite."""


def proxy_score(name: str, values: Sequence[Sequence[float]]) -> Floats:
    """Computes one score per architecture from the values of a proxy, higher is better.

    Args:
        name: Name of a proxy, or of several joined, as ``synflow+params``.
        values: The proxy's values for each of n architectures; of several, one after the other.

    Returns:
        Shape (n,).
    """
    scores = _scores_of_each(name, values) or [np.zeros(len(values))]
    return scores[0] if len(scores) == 1 else log_ranks(scores)


def _scores_of_each(name: str, values: Sequence[Sequence[float]]) -> list[Floats]:
    """Splits the values of joined proxies into one score of each, shape (n,), that has values.

    Raises:
        ValueError: The values are not those of these proxies.
    """
    counts = [VALUES.get(part, 1) for part in name.split(JOIN)]
    columns = np.asarray(values, dtype=np.float64).reshape(len(values), sum(counts)).T
    own = np.split(columns, np.cumsum(counts)[:-1])
    return [each[0] if len(each) == 1 else log_ranks(list(each)) for each in own if len(each)]


def smooths(prior: str | None) -> bool:
    """Tells whether a prior smooths the scores, for which it needs the architectures."""
    return bool(_effects(prior))


def proxies_of(prior: str) -> str:
    """Returns a prior without its parts that only smooth the score; empty if no proxy is left."""
    return JOIN.join(part for part in prior.split(JOIN) if part not in SMOOTHING)


def check_effects(prior: str | None, architecture: Any) -> None:
    """Checks that a prior that smooths the scores suits a space.

    Args:
        prior: Name of a proxy, or of several joined; None without one.
        architecture: Any architecture of the space.

    Raises:
        InvalidValueError: It does not.
    """
    for effects_of in _effects(prior):
        effects_of(architecture)


def _effects(prior: str | None) -> list[Callable[[Any], Choices]]:
    return [_EFFECTS[part] for part in (prior or "").split(JOIN) if part in _EFFECTS]


def adjusted_scores(prior: str | None, scores: Floats, architectures: Iterable[Any]) -> Floats:
    """Smooths SMASH scores, if the prior says so.

    Args:
        prior: Name of a proxy, or of several joined; None without one.
        scores: SMASH scores, (n,).
        architectures: The n architectures, as they are or as JSON; only read if they are needed.

    Raises:
        InvalidValueError: The architectures are not of such a space.
    """
    effects = _effects(prior)
    if not effects:
        return scores
    of_each: list[Choices] = [
        {name: value for effects_of in effects for name, value in effects_of(each).items()}
        for each in architectures
    ]
    return smoothed(scores, of_each)


def joint_score(prior: str, scores: Floats, values: Sequence[Sequence[float]]) -> Floats:
    """Joins SMASH scores and a prior by their ranks r, from 0 to 1; lower is better.

    It is −Σ weight · log r over the score and the proxies, plus `TOP_WEIGHT` · log(1 − r) of the
    first proxy, unless that is a size. Logarithms of ranks punish what is bad by any of them, and
    hardly tell apart what is good; there the last term decides.

    Args:
        prior: Name of a proxy, or of several joined; each counts once.
        scores: SMASH scores, (n,), lower is better; they count `SCORE_WEIGHT` times.
        values: The proxies' values for each of n architectures.

    Returns:
        Shape (n,).
    """
    proxies = _scores_of_each(prior, values)
    joined = log_ranks([-scores, *proxies], [SCORE_WEIGHT, *[1.0] * len(proxies)])
    first = proxies_of(prior).split(JOIN)[0]
    if not first or first in SIZE_PROXIES:
        return -joined
    top = TOP_WEIGHT_WITH_PATHS if PATHS in prior.split(JOIN) else TOP_WEIGHT
    return top * np.log1p(-relative_ranks(proxies[0])) - joined


def choose_prior(setting: str | None, space: str) -> str | None:
    """Chooses the prior of a ranking; None stands for the score alone.

    Args:
        setting: Name of a proxy, ``none`` for the score alone, or None for the default.
        space: Name of the search space.
    """
    prior = DEFAULT_PRIORS.get(space, SHARED_PRIOR) if setting is None else setting
    return None if prior == NO_PRIOR else prior


def check_proxy(setting: str, name: str | None) -> None:
    """Checks the name of a proxy.

    Args:
        setting: The setting that names it.
        name: The name, or several joined by ``+``; None is none.

    Raises:
        InvalidValueError: There is no such proxy.
    """
    known = (*PROXY_NAMES, *SMOOTHING)
    for part in [] if name is None else name.split(JOIN):
        if part not in known:
            raise InvalidValueError(unknown(setting, part, known))


@dataclass(frozen=True)
class Prefilter:
    """Scores only the best share of random architectures by a proxy.

    Attributes:
        proxy: Name of the proxy.
        share: Share of the architectures that are scored, 0…1.

    Example:
        >>> Prefilter.parse("az-nas:0.1").quota(100)
        10
    """

    proxy: str
    share: float = PREFILTER_SHARE

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``PROXY`` or ``PROXY:SHARE``.

        Raises:
            InvalidValueError: There is no such proxy, or the share is not between 0 and 1.
        """
        name, colon, number = text.partition(":")
        faults = [] if name in PROXY_NAMES else [unknown("prefilter", name, PROXY_NAMES)]
        try:
            share = float(number) if colon else PREFILTER_SHARE
        except ValueError:
            share = math.nan
        if not 0 < share < 1:
            faults.append(
                f"the share of a prefilter must be more than 0 and less than 1, got {number!r}: "
                f"for instance {name}:{PREFILTER_SHARE:g}"
            )
        if faults:
            raise InvalidValueError(*faults)
        return cls(name, share)

    def __str__(self) -> str:
        return f"{self.proxy}:{self.share:g}"

    def quota(self, count: int) -> int:
        """Computes the number of architectures that are scored out of `count`."""
        return math.ceil(self.share * count)

    def sort(self, values: Sequence[ProxyValues]) -> list[int]:
        """Sorts architectures by the proxy: their positions, best first."""
        positions: list[int] = np.argsort(-proxy_score(self.proxy, values), kind="stable").tolist()
        return positions
