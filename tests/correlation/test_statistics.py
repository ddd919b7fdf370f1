"""Statistics against definitions counted out, and against SciPy on resamples made by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from smash.correlation.statistics import (
    Bootstrap,
    Interval,
    best_tenth,
    interval,
    kendall_at_random,
    kendall_tau,
    regret,
    spearman,
    spearman_at_random,
)
from smash.runtime.rng import generator
from smash.scoring.rank_aggregation import dense_ranks, log_ranks


def counted_tau(xs, ys):
    """τ-b by its definition, pair by pair."""
    agree = x_differs = y_differs = 0
    for (x, y), (u, v) in itertools.combinations(zip(xs, ys, strict=True), 2):
        x_differs += x != u
        y_differs += y != v
        agree += int(np.sign(x - u) * np.sign(y - v))
    return agree / math.sqrt(x_differs * y_differs)


def test_tau_is_as_counted():
    # 1<2<3<4 against 1<3<2<4: five of six pairs agree, one does not.
    assert kendall_tau([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)
    assert kendall_tau([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # With ties: of the pairs, five differ in x, five in y, and four agree.
    assert kendall_tau([1, 1, 2, 3], [1, 2, 3, 3]) == pytest.approx(4 / 5)
    rng = np.random.default_rng(0)
    for _ in range(5):
        xs, ys = rng.integers(6, size=(2, 15))
        assert kendall_tau(xs, ys) == pytest.approx(counted_tau(xs, ys))


def test_spearman_is_as_worked_out():
    # 1 - 6 Σd² / n(n² - 1), with Σd² = 2.
    assert spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(1 - 12 / 60)
    assert spearman([10, 20, 300], [3, 2, 1]) == pytest.approx(-1)


@pytest.mark.parametrize("statistic", [kendall_tau, spearman])
def test_nothing_is_said_of_a_constant(statistic):
    assert math.isnan(statistic([1, 1, 1], [1, 2, 3]))
    assert math.isnan(statistic([1, 2, 3], [5, 5, 5]))
    assert math.isnan(statistic([], []))


def test_what_is_not_finite_is_the_worst():
    ranks = dense_ranks([2.0, math.nan, 1.0, -math.inf, math.inf, 2.0])
    assert ranks.tolist() == [2, 0, 1, 0, 0, 2]


@pytest.mark.parametrize("levels", [4, 1000], ids=["ties", "no ties"])
def test_resamples_give_what_scipy_gives(levels):
    n, rng = 40, np.random.default_rng(1)
    scores, truth = rng.integers(levels, size=(2, n)).astype(float)
    bootstrap = Bootstrap(truth, resamples=20, seed=3)
    taus, rhos = bootstrap.kendall_tau(scores), bootstrap.spearman(scores)
    again = generator(3, "bootstrap")
    for tau, rho in zip(taus, rhos, strict=True):
        rows = again.integers(n, size=n)
        assert tau == pytest.approx(stats.kendalltau(scores[rows], truth[rows]).statistic)
        assert rho == pytest.approx(stats.spearmanr(scores[rows], truth[rows]).statistic)


def test_many_architectures_are_summed_in_parts():
    n, rng = 1100, np.random.default_rng(2)
    truth = rng.normal(size=n)
    scores = truth + rng.normal(size=n)
    (tau,) = Bootstrap(truth, resamples=1).kendall_tau(scores)
    rows = generator(0, "bootstrap").integers(n, size=n)
    assert tau == pytest.approx(stats.kendalltau(scores[rows], truth[rows]).statistic)


def test_a_resample_without_variation_does_not_count():
    bootstrap = Bootstrap([1, 2], resamples=50)
    taus = bootstrap.kendall_tau([1, 2])
    assert set(taus[np.isfinite(taus)]) == {1.0}
    assert np.isnan(taus).any()  # half of the resamples hold one architecture twice
    assert interval(1.0, taus) == Interval(1.0, 1.0, 1.0)
    assert math.isnan(interval(math.nan, bootstrap.spearman([1, 1])).low)


@pytest.mark.parametrize("statistic", ["kendall_tau", "spearman"])
def test_intervals_hold_the_true_value_about_as_often_as_they_say(statistic):
    """Of two normal variables with correlation r, τ is 2/π · asin r, ρ is 6/π · asin r/2."""
    r, n, trials = 0.7, 60, 200
    known = {
        "kendall_tau": 2 / math.pi * math.asin(r),
        "spearman": 6 / math.pi * math.asin(r / 2),
    }[statistic]
    held = 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=n)
        scores = r * truth + math.sqrt(1 - r * r) * rng.normal(size=n)
        resampled = getattr(Bootstrap(truth, resamples=400, seed=seed), statistic)(scores)
        found = interval(0.0, resampled)
        held += found.low <= known <= found.high
    # 95% is 190 ± 3; a percentile interval of 60 is known to hold a little less.
    assert 180 <= held <= 199


def test_a_paired_difference_is_narrower_than_an_unpaired_one():
    """Two scores that err alike: their difference is known far better than either."""
    rng = np.random.default_rng(4)
    truth = rng.normal(size=150)
    error = rng.normal(size=150)
    good, bad = truth + error, truth + 1.3 * error
    bootstrap = Bootstrap(truth, resamples=400)
    paired = interval(0, bootstrap.kendall_tau(good) - bootstrap.kendall_tau(bad))
    other = Bootstrap(truth, resamples=400, seed=1)
    unpaired = interval(0, bootstrap.kendall_tau(good) - other.kendall_tau(bad))
    assert 0 < paired.low < kendall_tau(good, truth) - kendall_tau(bad, truth) < paired.high
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 3


def test_the_best_tenth_is_rounded_up_and_takes_equals_in():
    assert best_tenth([3, 1, 2]).tolist() == [True, False, False]
    assert best_tenth(list(range(20))).nonzero()[0].tolist() == [18, 19]
    assert best_tenth([5, 5, 5, 1, 1, 1, 1, 1, 1, 1, 1]).sum() == 3


def test_regret_by_hand():
    truth = [90.0, 94.0, 91.0, 80.0]
    scores = [3.0, 1.0, 2.0, 4.0]  # chooses 80, then 90, then 91, then 94
    assert [regret(scores, truth, among) for among in (1, 2, 3, 4)] == [14, 4, 3, 0]
    assert regret([math.nan, 1, 2, 3], truth, 4) == 0


@pytest.mark.parametrize("among", [1, 2, 3, 5, 6])
def test_regret_with_equal_scores_is_the_mean_over_all_choices(among):
    truth = np.array([90.0, 94.0, 91.0, 80.0, 91.0, 85.0])
    scores = np.array([2, 1, 1, 1, 2, 1])
    found = []
    for order in itertools.permutations(range(6)):
        chosen = sorted(order, key=lambda one: -scores[one])[:among]  # stable: order breaks ties
        found.append(94 - truth[chosen].max())
    assert regret(scores, truth, among) == pytest.approx(np.mean(found))


@pytest.mark.parametrize("values", [1000, 12])  # few values: many are equal
def test_random_orders_spread_as_those_that_are_drawn(values):
    rng = np.random.default_rng(5)
    truth = rng.integers(values, size=60)
    drawn = [rng.permutation(60) for _ in range(500)]
    for found, statistic in (
        (kendall_at_random(truth), stats.kendalltau),
        (spearman_at_random(truth), stats.spearmanr),
    ):
        deviation = np.std([statistic(one, truth).statistic for one in drawn])
        assert (found.value, -found.low) == (0, found.high)
        assert found.high == pytest.approx(1.96 * deviation, rel=0.12)


def test_random_orders_of_few_or_equal_ones():
    assert vars(kendall_at_random([1, 2])) == {"value": 0, "low": -1, "high": 1}
    assert math.isnan(kendall_at_random([1, 1]).low)
    assert math.isnan(spearman_at_random([]).high)


def test_log_ranks_by_hand():
    joined = log_ranks([[10, 30, 20], [-math.inf, 5, math.nan]])
    # Ranks 1 3 2 and 1.5 3 1.5, of 3.
    assert joined == pytest.approx(
        [math.log(1 / 3) + math.log(0.5), 0, math.log(2 / 3) + math.log(0.5)]
    )
    weighted = log_ranks([[10, 30, 20], [-math.inf, 5, math.nan]], [2, 1])
    assert weighted == pytest.approx(
        [2 * math.log(1 / 3) + math.log(0.5), 0, 2 * math.log(2 / 3) + math.log(0.5)]
    )


def test_two_are_enough_for_a_rank_correlation():
    assert kendall_tau([1, 2], [5, 9]) == pytest.approx(1)
    assert spearman([1, 2], [9, 5]) == pytest.approx(-1)
