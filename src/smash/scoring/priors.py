"""Rankings without validation examples, beside the score: a prior, and to choose what is scored.

A companion is a proxy, or the number of parameters or MACs: the more, the better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from smash.errors import InvalidValueError, unknown
from smash.scoring.proxies.az_nas import AzNas
from smash.scoring.proxies.base import Proxy
from smash.scoring.proxies.naswot import Naswot
from smash.scoring.proxies.synflow import GeneratedSynflow, Synflow
from smash.scoring.rank_aggregation import Floats, log_ranks

PROXIES: Mapping[str, Proxy] = {
    proxy.name: proxy for proxy in (Naswot(), Synflow(), AzNas(), GeneratedSynflow())
}
COSTS = ("params", "macs")
COMPANIONS = (*COSTS, *PROXIES)
PREFILTER_SHARE = 0.25
PRIORS = {"nas-bench-201": "generated-synflow"}
"""What joins the score where nothing else is asked for, by space.

Chosen on 200 cells of the first half of a table, with three networks (benchmarks/notes/cells.md).
"""

SCORE_WEIGHT = 2.0
"""How much the score counts in a joint ranking, against 1 for each number of a companion.

Chosen on 200 cells of the first half of a table, where it is best or close to it with each network
and each companion; see benchmarks/notes/cells.md.
"""

Numbers = tuple[float, ...]
"""What a companion says of one architecture, higher is better; what is not finite is −∞."""


def alone(name: str, numbers: Sequence[Sequence[float]]) -> Floats:
    """One number for each architecture by a companion alone, higher is better."""
    parts = list(np.asarray(numbers, dtype=np.float64).T)
    return PROXIES[name].join(parts) if name in PROXIES else parts[0]


def together(scores: Floats, numbers: Sequence[Sequence[float]]) -> Floats:
    """What ranks by score and companion at once, lower is better: see `log_ranks`.

    Args:
        scores: SMASH scores, (n,), lower is better.
        numbers: Those of a companion, n of them; each counts once, the score `SCORE_WEIGHT` times.
    """
    parts = list(np.asarray(numbers, dtype=np.float64).T)
    return -log_ranks([-scores, *parts], [SCORE_WEIGHT, *[1.0] * len(parts)])


def choose_prior(asked: str | None, space: str) -> str | None:
    """The companion that joins the score: what is asked for, else the space's own.

    Args:
        asked: A companion, or ``none`` for the score alone.
        space: The name of the search space.
    """
    chosen = PRIORS.get(space) if asked is None else asked
    return None if chosen == "none" else chosen


def check_companion(what: str, name: str) -> list[str]:
    """The fault of a name that is no companion's, if it is none."""
    return [] if name in COMPANIONS else [unknown(what, name, COMPANIONS)]


@dataclass(frozen=True)
class Prefilter:
    """Which architectures are scored at all: the best share by a companion.

    Attributes:
        name: The companion.
        share: How many of those that are drawn, 0…1.
    """

    name: str
    share: float = PREFILTER_SHARE

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``PROXY`` or ``PROXY:SHARE``.

        Raises:
            InvalidValueError: There is no such proxy, or the share is none.
        """
        name, colon, given = text.partition(":")
        faults = check_companion("prefilter", name)
        try:
            share = float(given) if colon else PREFILTER_SHARE
        except ValueError:
            share = math.nan
        if not 0 < share < 1:
            faults.append(
                f"the share of a prefilter must be more than 0 and less than 1, got {given!r}: "
                f"for instance {name}:{PREFILTER_SHARE:g}"
            )
        if faults:
            raise InvalidValueError(*faults)
        return cls(name, share)

    def __str__(self) -> str:
        return f"{self.name}:{self.share:g}"

    def kept(self, drawn: int) -> int:
        """How many of so many are scored."""
        return math.ceil(self.share * drawn)

    def order(self, numbers: Sequence[Numbers]) -> list[int]:
        """Positions of architectures, the best by the companion first."""
        return np.argsort(-alone(self.name, numbers), kind="stable").tolist()  # type: ignore[no-any-return]
