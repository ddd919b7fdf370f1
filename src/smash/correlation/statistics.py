"""Agreement of a ranking with real accuracies: Kendall's τ-b, Spearman's ρ, nDCG and regret.

Higher is better everywhere, and values that are not finite rank last. Intervals are 95% percentile
intervals of a bootstrap over architectures (Efron 1979), which all rankings share, so that they can
be compared in pairs. Of SciPy's methods the percentile interval has the coverage that is closest
to 95%, and holds for a perfect ranking too, for which BCa is not defined.

Legend: B resamples, n architectures.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from smash.io.records import Interval
from smash.run.trust import RankCorrelation
from smash.runtime.rng import generator
from smash.scoring.rank_aggregation import Floats, Ints, dense_ranks

RESAMPLES = 1000

REGRET_AMONG = (1, 5, 10)
"""Numbers of best-scored architectures whose regret is computed."""

TOP = 0.05
"""Share of architectures at the top, whose precision is computed."""

EQUAL_SIZE = 0.05
"""Difference in parameters, relative to the larger of two, up to which they count as equal."""

_LEVEL = 0.95
_BATCH = 100  # resamples at a time
_MOST_BY_PAIRS = 1000  # architectures; with more, SciPy is faster than a sum over all pairs

_UNDEFINED = Interval(value=math.nan, low=math.nan, high=math.nan)


def kendall_tau(scores: ArrayLike, truth: ArrayLike) -> float:
    """Computes Kendall's τ-b of two sets of n values; NaN where one of them is constant."""
    ranks = dense_ranks(scores), dense_ranks(truth)
    return math.nan if _is_constant(*ranks) else float(stats.kendalltau(*ranks).statistic)


def spearman(scores: ArrayLike, truth: ArrayLike) -> float:
    """Computes Spearman's ρ of two sets of n values; NaN where one of them is constant."""
    ranks = dense_ranks(scores), dense_ranks(truth)
    return math.nan if _is_constant(*ranks) else float(stats.spearmanr(*ranks).statistic)


def _is_constant(*ranks: Ints) -> bool:
    return any(not each.size or each.max() == 0 for each in ranks)


def resampled_kendall_tau(
    scores: ArrayLike, truth: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Computes Kendall's τ-b of bootstrap resamples.

    SciPy computes the τ of one resample in about 0.3 ms; of few architectures, the sum over all
    pairs of a resample, as a matrix product, takes 1 ms for 1,000 resamples.

    Args:
        scores: Shape (n,), higher is better.
        truth: Shape (n,), higher is better.
        resamples: Number of resamples.
        seed: Seed of the resamples; the same for statistics that are compared in pairs.

    Returns:
        Shape (B,); NaN for a resample in which one of the two is constant.
    """
    ranks, true_ranks = dense_ranks(scores), dense_ranks(truth)
    if len(ranks) > _MOST_BY_PAIRS:

        def statistic(rows: Ints, axis: int) -> Floats:
            taus = [stats.kendalltau(ranks[row], true_ranks[row]).statistic for row in rows]
            return np.array(taus)
    else:
        # Sign of the difference of each pair; float32 is exact up to 2²⁴ and fast in products.
        sign_nn, true_sign_nn = (
            np.sign(each[:, None] - each).astype(np.float32) for each in (ranks, true_ranks)
        )
        pairs = (sign_nn * true_sign_nn, np.square(sign_nn), np.square(true_sign_nn))

        def statistic(rows: Ints, axis: int) -> Floats:
            counts_Bn = _counts(rows)
            agreement_B, untied_B, true_untied_B = (
                ((counts_Bn @ each) * counts_Bn).sum(1, dtype=np.float64) for each in pairs
            )
            return _ratio(agreement_B, np.sqrt(untied_B * true_untied_B))

    return _resampled(statistic, len(ranks), resamples, seed)


def resampled_spearman(
    scores: ArrayLike, truth: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Computes Spearman's ρ of bootstrap resamples; see `resampled_kendall_tau`."""
    ranks, true_ranks = dense_ranks(scores), dense_ranks(truth)

    def statistic(rows: Ints, axis: int) -> Floats:
        x_Bn, y_Bn = (
            stats.rankdata(each[rows], axis=1) - (rows.shape[1] + 1) / 2
            for each in (ranks, true_ranks)
        )
        xy_B, xx_B, yy_B = ((a * b).sum(1) for a, b in ((x_Bn, y_Bn), (x_Bn, x_Bn), (y_Bn, y_Bn)))
        return _ratio(xy_B, np.sqrt(xx_B * yy_B))

    return _resampled(statistic, len(ranks), resamples, seed)


def _resampled(
    statistic: Callable[[Ints, int], Floats], n: int, resamples: int, seed: int
) -> Floats:
    """Evaluates a statistic of resampled rows, shape (B, n)."""
    if n < 2:
        return np.full(resamples, math.nan)
    with warnings.catch_warnings():
        # Raised for a statistic that is undefined in a resample, which `interval` leaves out.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result: Any = stats.bootstrap(
            (np.arange(n),),
            statistic,
            n_resamples=resamples,
            batch=_BATCH,
            vectorized=True,
            method="percentile",
            random_state=generator(seed, "bootstrap"),
        )
    distribution: Floats = result.bootstrap_distribution
    return distribution


def _counts(rows: Ints) -> NDArray[np.float32]:
    """Counts how often each resample contains each architecture, shape (B, n)."""
    b, n = rows.shape
    flat = (rows + n * np.arange(b)[:, None]).ravel()
    return np.bincount(flat, minlength=b * n).reshape(b, n).astype(np.float32)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    undefined = np.full_like(numerator, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)


def interval(value: float, resampled: Floats) -> Interval:
    """Makes the percentile interval of a statistic, from the resamples in which it is defined."""
    defined = resampled[np.isfinite(resampled)]
    if not defined.size:
        return Interval(value=value, low=math.nan, high=math.nan)
    low, high = np.quantile(defined, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(value=value, low=float(low), high=float(high))


def correlation_interval(value: float, resampled: Floats, n: int) -> Interval:
    """Makes the interval of a rank correlation of n pairs.

    All resamples of a perfect order are perfect, whatever n is. Then the bound is the exact one of
    n / 2 disjoint pairs, which are independent: all of them are ordered alike by chance of 2.5%.

    Args:
        value: The correlation, −1…1.
        resampled: The correlation of each resample.
        n: Number of architectures.

    Example:
        >>> round(correlation_interval(1.0, np.ones(1000), n=12).low, 2)
        0.08
    """
    if abs(value) < 1 - 1e-9 or not math.isfinite(value):
        return interval(value, resampled)
    bound = 2 * ((1 - _LEVEL) / 2) ** (1 / (n // 2)) - 1
    low, high = (bound, 1.0) if value > 0 else (-1.0, -bound)
    return Interval(value=value, low=low, high=high)


def best_tenth(truth: ArrayLike) -> NDArray[np.bool_]:
    """Selects the best tenth by truth, rounded up, with all that are equal to the last of it."""
    ranks = dense_ranks(truth)
    last = np.sort(ranks)[::-1][math.ceil(len(ranks) / 10) - 1]
    best: NDArray[np.bool_] = ranks >= last
    return best


def regret(scores: ArrayLike, truth: ArrayLike, among: int) -> float:
    """Computes the regret of a ranking: the best truth minus the best among the top by score.

    Where equal scores leave open which architectures are at the top, it is the mean over all
    choices; so a constant score has the regret of choosing at random.

    Args:
        scores: Shape (n,), higher is better.
        truth: Shape (n,), higher is better.
        among: Size of the top, 1…n.

    Returns:
        In the unit of the truth, at least 0.
    """
    ranks, values = dense_ranks(scores), np.asarray(truth, dtype=np.float64)
    last = np.sort(ranks)[::-1][among - 1]
    certain, tied = values[ranks > last], np.sort(values[ranks == last])[::-1]
    floor = certain.max() if certain.size else -np.inf
    drawn, m = among - len(certain), len(tied)
    # The best of the drawn is the j-th of m with probability C(m - 1 - j, drawn - 1) / C(m, drawn).
    total = math.comb(m, drawn)
    chances = [math.comb(m - 1 - j, drawn - 1) / total for j in range(m - drawn + 1)]
    lost = values.max() - np.maximum(tied[: len(chances)], floor)
    return float(np.dot(chances, lost))


def top_precision(scores: ArrayLike, truth: ArrayLike) -> float:
    """Computes the precision of the top twentieth by score: its share in the true top twentieth.

    The number of the top is rounded up. Of equal scores at its edge all count in part, as if they
    were chosen at random; of equal truths at its edge all belong to it.

    Args:
        scores: Shape (n,), higher is better.
        truth: Shape (n,), higher is better.

    Returns:
        0…1.
    """
    ranks, true_ranks = dense_ranks(scores), dense_ranks(truth)
    size = math.ceil(TOP * len(ranks))
    last, true_last = (np.sort(each)[::-1][size - 1] for each in (ranks, true_ranks))
    good, certain, tied = true_ranks >= true_last, ranks > last, ranks == last
    chosen = (size - certain.sum()) / tied.sum()  # of the tied
    return float((good[certain].sum() + chosen * good[tied].sum()) / size)


def ndcg(scores: ArrayLike, truth: ArrayLike) -> float:
    """Computes the normalised discounted cumulative gain of a ranking (Järvelin & Kekäläinen 2002).

    The gain of an architecture is its truth, from 0 for the worst to 1 for the best of the n, and
    the discount of place i is log₂(1 + i). Places of equal scores are averaged.

    Args:
        scores: Shape (n,), higher is better.
        truth: Shape (n,), higher is better.

    Returns:
        0…1; NaN where all truths are equal.
    """
    from sklearn.metrics import ndcg_score  # which takes seconds to import

    values = np.asarray(truth, dtype=np.float64)
    spread = float(np.ptp(values)) if values.size > 1 else 0.0
    if not spread:
        return math.nan
    return float(ndcg_score([(values - values.min()) / spread], [dense_ranks(scores)]))


def tau_at_equal_size(scores: ArrayLike, truth: ArrayLike, params: ArrayLike) -> float:
    """Computes Kendall's τ-b over the pairs of architectures of about equal size.

    What a search under a limit of the size lives on: a ranking by size alone has 0. Sizes are about
    equal if they differ by at most `EQUAL_SIZE`.

    Args:
        scores: Shape (n,), higher is better.
        truth: Shape (n,), higher is better.
        params: Parameter counts, shape (n,).

    Returns:
        −1…1; NaN where no pair of equal size differs in both score and truth.
    """
    ranks, true_ranks = dense_ranks(scores), dense_ranks(truth)
    sizes = np.asarray(params, dtype=np.float64)
    agreement = untied = true_untied = 0.0
    for i in range(1, len(ranks)):  # row by row: all pairs of a large table are too many at once
        equal = np.abs(sizes[:i] - sizes[i]) <= EQUAL_SIZE * np.maximum(sizes[:i], sizes[i])
        sign = np.sign(ranks[:i] - ranks[i])[equal]
        true_sign = np.sign(true_ranks[:i] - true_ranks[i])[equal]
        agreement += float((sign * true_sign).sum())
        untied += float(np.abs(sign).sum())
        true_untied += float(np.abs(true_sign).sum())
    return agreement / math.sqrt(untied * true_untied) if untied and true_untied else math.nan


def kendall_at_random(truth: ArrayLike) -> Interval:
    """Gives the mean of Kendall's τ-b of random orders, 0, and the interval of 95% of them.

    By the normal approximation, with the exact variance for ties in the truth (Kendall 1970,
    chapter 5).

    Args:
        truth: Shape (n,).
    """
    ranks = dense_ranks(truth)
    if _is_constant(ranks):
        return _UNDEFINED
    sizes = np.array([len(ranks), *np.bincount(ranks)])  # of all, and of groups of equal ones
    pairs, *tied_pairs = sizes * (sizes - 1) / 2
    variance, *of_tied = sizes * (sizes - 1) * (2 * sizes + 5) / 18
    return _around_zero((variance - sum(of_tied)) / (pairs * (pairs - sum(tied_pairs))))


def spearman_at_random(truth: ArrayLike) -> Interval:
    """Gives the mean of Spearman's ρ of random orders, 0, and the interval of 95% of them.

    By the normal approximation; the variance, 1 / (n − 1), is exact.

    Args:
        truth: Shape (n,).
    """
    ranks = dense_ranks(truth)
    return _UNDEFINED if _is_constant(ranks) else _around_zero(1 / (len(ranks) - 1))


def _around_zero(variance: float) -> Interval:
    reach = min(1.0, float(stats.norm.ppf((1 + _LEVEL) / 2)) * math.sqrt(variance))
    return Interval(value=0.0, low=-reach, high=reach)


class RankComparison:
    """Compares rankings with real accuracies and with the SMASH score, on the same resamples.

    Args:
        truth: Real accuracies, shape (n,), higher is better.
        scores: SMASH scores, shape (n,), higher is better.
        params: Parameter counts, shape (n,).

    Attributes:
        score: Rank correlation of the SMASH scores.

    Example:
        >>> truth, scores = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])
        >>> comparison = RankComparison(truth, scores, params=np.ones(4))
        >>> round(comparison.score.kendall_tau.value, 3)
        0.667
        >>> comparison.with_score(truth).tau_difference.value < 0
        True
    """

    def __init__(self, truth: Floats, scores: Floats, params: Floats) -> None:
        self._truth, self._best, self._params = truth, best_tenth(truth), params
        self._score_tau = kendall_tau(scores, truth)
        self._score_taus = resampled_kendall_tau(scores, truth)
        self.score = self._correlation(scores, self._score_taus)

    def with_score(self, values: Floats) -> RankCorrelation:
        """Computes the rank correlation of another ranking, higher is better."""
        taus = resampled_kendall_tau(values, self._truth)
        ahead = self._score_tau - kendall_tau(values, self._truth)
        differences = self._score_taus - taus
        difference = interval(ahead, differences)
        alike = difference.low == difference.high  # as with three networks: they tell nothing
        if alike and abs(ahead) > 1e-9:
            difference = Interval(value=ahead, low=-2.0, high=2.0)
        return self._correlation(values, taus, difference)

    def at_random(self) -> RankCorrelation:
        """Computes the mean rank correlation of random orders."""
        constant = np.zeros_like(self._truth)
        return RankCorrelation(
            kendall_tau=kendall_at_random(self._truth),
            spearman=spearman_at_random(self._truth),
            top_tenth_tau=kendall_at_random(self._truth[self._best]),
            equal_size_tau=0.0,
            ndcg=ndcg(constant, self._truth),
            top_precision=top_precision(constant, self._truth),
            regret=self._regret(constant),
        )

    def _correlation(
        self, values: Floats, taus: Floats, difference: Interval | None = None
    ) -> RankCorrelation:
        truth, best = self._truth, (values[self._best], self._truth[self._best])
        return RankCorrelation(
            kendall_tau=correlation_interval(kendall_tau(values, truth), taus, len(truth)),
            spearman=correlation_interval(
                spearman(values, truth), resampled_spearman(values, truth), len(truth)
            ),
            top_tenth_tau=correlation_interval(
                kendall_tau(*best), resampled_kendall_tau(*best), len(best[0])
            ),
            equal_size_tau=tau_at_equal_size(values, truth, self._params),
            ndcg=ndcg(values, truth),
            top_precision=top_precision(values, truth),
            regret=self._regret(values),
            tau_difference=difference,
        )

    def _regret(self, values: Floats) -> dict[int, float | None]:
        n = len(self._truth)
        return {
            among: regret(values, self._truth, among) if among <= n else None
            for among in REGRET_AMONG
        }
