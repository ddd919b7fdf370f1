"""Rankings beside each other: how far each agrees with the truth, and which agrees better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from smash.agreement import (
    Bootstrap,
    Floats,
    Interval,
    best_tenth,
    interval,
    kendall_at_random,
    kendall_tau,
    regret,
    spearman,
    spearman_at_random,
)

AMONG = (1, 10, 100)
"""Of how many of the top the regret is told."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far one ranking agrees with real accuracies.

    Attributes:
        kendall_tau: Kendall's τ-b.
        spearman: Spearman's ρ.
        top_tenth_tau: Kendall's τ-b among the tenth that is best by real accuracy.
        regret: What is lost by looking at the top 1, 10, 100 alone, in the unit of the accuracies;
            None where there are fewer.
        tau_difference: τ of the SMASH score minus this τ, on the same resamples; None for the score
            itself and for random order.
    """

    kendall_tau: Interval
    spearman: Interval
    top_tenth_tau: Interval
    regret: Mapping[int, float | None]
    tau_difference: Interval | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; what is not defined is null."""
        document: dict[str, Any] = {
            "kendall_tau": _plain(self.kendall_tau),
            "spearman": _plain(self.spearman),
            "top_tenth_tau": _plain(self.top_tenth_tau),
            "regret": {str(among): lost for among, lost in self.regret.items()},
        }
        if self.tau_difference is not None:
            document["tau_difference"] = _plain(self.tau_difference)
        return document


def _plain(found: Interval) -> dict[str, float | None]:
    numbers = {"value": found.value, "low": found.low, "high": found.high}
    return {name: number if math.isfinite(number) else None for name, number in numbers.items()}


class Comparison:
    """Compares rankings with the truth and with the SMASH score, on the same resamples.

    Args:
        truth: Real accuracies, shape ``(n,)``, higher is better.
        scores: SMASH scores, shape ``(n,)``, higher is better.
    """

    def __init__(self, truth: Floats, scores: Floats) -> None:
        self._truth = truth
        self._bootstrap = Bootstrap(truth)
        self._best = best_tenth(truth)
        self._best_bootstrap = Bootstrap(truth[self._best])
        self._score_tau = kendall_tau(scores, truth)
        self._score_taus = self._bootstrap.kendall_tau(scores)
        self.score = self._agreement(scores, self._score_taus)

    def with_score(self, values: Floats) -> Agreement:
        """Agreement of another ranking, higher is better."""
        taus = self._bootstrap.kendall_tau(values)
        ahead = self._score_tau - kendall_tau(values, self._truth)
        return self._agreement(values, taus, interval(ahead, self._score_taus - taus))

    def at_random(self) -> Agreement:
        """Agreement of a random order: the mean of what may come out."""
        return Agreement(
            kendall_tau=kendall_at_random(self._truth),
            spearman=spearman_at_random(self._truth),
            top_tenth_tau=kendall_at_random(self._truth[self._best]),
            regret=self._regret(np.zeros_like(self._truth)),
        )

    def _agreement(
        self, values: Floats, taus: Floats, difference: Interval | None = None
    ) -> Agreement:
        best, truth = self._best, self._truth
        return Agreement(
            kendall_tau=interval(kendall_tau(values, truth), taus),
            spearman=interval(spearman(values, truth), self._bootstrap.spearman(values)),
            top_tenth_tau=interval(
                kendall_tau(values[best], truth[best]),
                self._best_bootstrap.kendall_tau(values[best]),
            ),
            regret=self._regret(values),
            tau_difference=difference,
        )

    def _regret(self, values: Floats) -> dict[int, float | None]:
        n = len(self._truth)
        return {
            among: regret(values, self._truth, among) if among <= n else None for among in AMONG
        }
