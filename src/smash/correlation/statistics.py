"""How far a ranking agrees with the truth: Kendall's τ-b, Spearman's ρ, regret, and intervals.

Everywhere higher is better, and what is not finite ranks last. Intervals are percentile bootstraps
over architectures (Efron 1979). A resample is how often it takes each architecture, so that a
statistic of all resamples is a few matrix products: ``w @ S @ w`` sums over all pairs of a resample
what ``S`` holds for each pair.

Legend: B resamples, n architectures, G groups of equal values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from smash.runtime.rng import generator
from smash.scoring.rank_aggregation import Floats, Ints, dense_ranks

RESAMPLES = 1000
_LEVEL = 0.95
_ROWS = 512  # of a matrix over pairs at a time: 15,625 architectures would fill 1 GB
_SAMPLES = 100  # resamples at a time, likewise


@dataclass(frozen=True)
class Interval:
    """A number and the 95% interval around it; NaN where it is not defined."""

    value: float
    low: float
    high: float


def kendall_tau(scores: ArrayLike, truth: ArrayLike) -> float:
    """Kendall's τ-b of two sets of n values; NaN where one of them is constant."""
    places = dense_ranks(scores), dense_ranks(truth)
    if _constant(*places):
        return math.nan
    return float(stats.kendalltau(*places).statistic)


def spearman(scores: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's ρ of two sets of n values; NaN where one of them is constant."""
    places = dense_ranks(scores), dense_ranks(truth)
    return math.nan if _constant(*places) else float(stats.spearmanr(*places).statistic)


def _constant(*places: Ints) -> bool:
    return any(not each.size or each.max() == 0 for each in places)


class Bootstrap:
    """Resamples of n architectures with known truth, the same for all scores: they are paired.

    Args:
        truth: Shape ``(n,)``, higher is better.
        resamples: How many.
        seed: Which.
    """

    def __init__(self, truth: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self._truth = dense_ranks(truth)
        n = len(self._truth)
        rng = generator(seed, "bootstrap")
        drawn = (np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(resamples))
        # float32 is exact up to 2²⁴ and twice as quick in products.
        self._weights_Bn = np.stack(list(drawn)).astype(np.float32)

    def kendall_tau(self, scores: ArrayLike) -> Floats:
        """Kendall's τ-b in each resample, shape ``(B,)``; NaN where it is not defined."""
        places, weights_Bn = dense_ranks(scores), self._weights_Bn
        total_B = np.zeros(len(weights_Bn))
        for start in range(0, len(places), _ROWS):
            rows = slice(start, start + _ROWS)
            agree = np.sign(places[rows, None] - places) * np.sign(
                self._truth[rows, None] - self._truth
            )
            sums = weights_Bn @ agree.T.astype(np.float32)
            total_B += np.einsum("br,br->b", sums, weights_Bn[:, rows], dtype=np.float64)
        untied_B = self._untied(places) * self._untied_truth
        return _ratio(total_B, np.sqrt(untied_B))

    def spearman(self, scores: ArrayLike) -> Floats:
        """Spearman's ρ in each resample, shape ``(B,)``; NaN where it is not defined."""
        places = dense_ranks(scores)
        parts = []
        for start in range(0, len(self._weights_Bn), _SAMPLES):
            weights_bn = self._weights_Bn[start : start + _SAMPLES].astype(np.float64)
            one, other = (_centred_ranks(each, weights_bn) for each in (places, self._truth))
            shared, own, truth = (
                np.einsum("bn,bn,bn->b", weights_bn, *pair)
                for pair in ((one, other), (one, one), (other, other))
            )
            parts.append(_ratio(shared, np.sqrt(own * truth)))
        return np.concatenate(parts)

    @cached_property
    def _untied_truth(self) -> Floats:
        return self._untied(self._truth)

    def _untied(self, places: Ints) -> Floats:
        """Ordered pairs of a resample whose places differ, shape ``(B,)``."""
        groups_BG = _group_sums(places, self._weights_Bn.astype(np.float64))
        untied: Floats = len(places) ** 2 - np.square(groups_BG).sum(1)
        return untied


def interval(value: float, resampled: Floats) -> Interval:
    """The percentile interval of what was found in resamples, of those where it is defined."""
    defined = resampled[np.isfinite(resampled)]
    if not defined.size:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(defined, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(value, float(low), float(high))


def _group_sums(places: Ints, weights_bn: Floats) -> Floats:
    """How often a resample takes any architecture of a place, shape ``(b, G)``, worst first."""
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    sums: Floats = np.add.reduceat(weights_bn[:, order], starts, axis=1)
    return sums


def _centred_ranks(places: Ints, weights_bn: Floats) -> Floats:
    """Ranks within each resample minus their mean, equal values sharing the mean of theirs."""
    groups_bG = _group_sums(places, weights_bn)
    ranks_bG = np.cumsum(groups_bG, axis=1) - (groups_bG - 1) / 2
    centred: Floats = ranks_bG[:, places] - (len(places) + 1) / 2
    return centred


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    undefined = np.full_like(numerator, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)


def best_tenth(truth: ArrayLike) -> NDArray[np.bool_]:
    """Which are the best tenth by truth, rounded up, with all that equal the last of it."""
    places = dense_ranks(truth)
    last = np.sort(places)[::-1][math.ceil(len(places) / 10) - 1]
    best: NDArray[np.bool_] = places >= last
    return best


def regret(scores: ArrayLike, truth: ArrayLike, among: int) -> float:
    """What is lost by trusting a ranking: the best truth minus the best among the top by score.

    Where equal scores leave open which are the top, it is the mean over all choices; so a constant
    score gives the regret of choosing at random.

    Args:
        scores: Shape ``(n,)``, higher is better.
        truth: Shape ``(n,)``, higher is better.
        among: How many are looked at, 1…n.

    Returns:
        In the unit of the truth, at least 0.
    """
    places, found = dense_ranks(scores), np.asarray(truth, dtype=np.float64)
    last = np.sort(places)[::-1][among - 1]
    sure, open_ = found[places > last], np.sort(found[places == last])[::-1]
    floor = sure.max() if sure.size else -np.inf
    drawn = among - len(sure)
    # The best drawn is the j-th of m with probability C(m - 1 - j, drawn - 1) / C(m, drawn).
    total, m = math.comb(len(open_), drawn), len(open_)
    chances = [math.comb(m - 1 - j, drawn - 1) / total for j in range(m - drawn + 1)]
    lost = found.max() - np.maximum(open_[: len(chances)], floor)
    return float(np.dot(chances, lost))


def kendall_at_random(truth: ArrayLike) -> Interval:
    """Kendall's τ-b of random orders without equal scores: 0 on average, and where 95% of them lie.

    By the normal approximation, with the exact variance where some of the truth is equal
    (Kendall 1970, chapter 5).

    Args:
        truth: Shape ``(n,)``.
    """
    places = dense_ranks(truth)
    if _constant(places):
        return _UNDEFINED
    sizes = np.array([len(places), *np.bincount(places)])  # of all, and of groups of equal ones
    pairs, *equal_pairs = sizes * (sizes - 1) / 2
    variance, *of_equal = sizes * (sizes - 1) * (2 * sizes + 5) / 18
    return _around_zero((variance - sum(of_equal)) / (pairs * (pairs - sum(equal_pairs))))


def spearman_at_random(truth: ArrayLike) -> Interval:
    """Spearman's ρ of random orders: 0 on average, and where 95% of them lie.

    By the normal approximation; the variance, 1 / (n − 1), is exact.

    Args:
        truth: Shape ``(n,)``.
    """
    places = dense_ranks(truth)
    return _UNDEFINED if _constant(places) else _around_zero(1 / (len(places) - 1))


def _around_zero(variance: float) -> Interval:
    reach = min(1.0, float(stats.norm.ppf((1 + _LEVEL) / 2)) * math.sqrt(variance))
    return Interval(0.0, -reach, reach)


_UNDEFINED = Interval(math.nan, math.nan, math.nan)


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
