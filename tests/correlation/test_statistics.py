"""Statistics against definitions counted out, and against SciPy on resamples made by hand."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from smash.correlation.statistics import (
    RankComparison,
    best_tenth,
    correlation_interval,
    interval,
    kendall_at_random,
    kendall_tau,
    ndcg,
    regret,
    resampled_kendall_tau,
    resampled_spearman,
    spearman,
    spearman_at_random,
    tau_at_equal_size,
    top_precision,
)
from smash.io.records import Interval
from smash.runtime.rng import generator


def counted_tau(xs, ys):
    """τ-b by its definition, pair by pair."""
    agree = x_differs = y_differs = 0
    for (x, y), (u, v) in itertools.combinations(zip(xs, ys, strict=True), 2):
        x_differs += x != u
        y_differs += y != v
        agree += int(np.sign(x - u) * np.sign(y - v))
    return agree / math.sqrt(x_differs * y_differs)


def test_kendall_tau_is_as_counted_pair_by_pair():
    # 1<2<3<4 against 1<3<2<4: five of six pairs agree, one does not.
    assert kendall_tau([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)
    assert kendall_tau([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # With ties: of the pairs, five differ in x, five in y, and four agree.
    assert kendall_tau([1, 1, 2, 3], [1, 2, 3, 3]) == pytest.approx(4 / 5)
    rng = np.random.default_rng(0)
    for _ in range(5):
        xs, ys = rng.integers(6, size=(2, 15))
        assert kendall_tau(xs, ys) == pytest.approx(counted_tau(xs, ys))


def test_spearman_is_as_worked_out_by_hand():
    # 1 - 6 Σd² / n(n² - 1), with Σd² = 2.
    assert spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(1 - 12 / 60)
    assert spearman([10, 20, 300], [3, 2, 1]) == pytest.approx(-1)


@pytest.mark.parametrize("statistic", [kendall_tau, spearman])
def test_correlation_of_constant_is_undefined(statistic):
    assert math.isnan(statistic([1, 1, 1], [1, 2, 3]))
    assert math.isnan(statistic([1, 2, 3], [5, 5, 5]))
    assert math.isnan(statistic([], []))


@pytest.mark.parametrize("n", [40, 1001], ids=["few", "many"])
@pytest.mark.parametrize("levels", [4, 10**6], ids=["ties", "no ties"])
def test_resampled_statistics_are_those_of_scipy(levels, n):
    rng = np.random.default_rng(1)
    scores, truth = rng.integers(levels, size=(2, n)).astype(float)
    taus = resampled_kendall_tau(scores, truth, resamples=8, seed=3)
    rhos = resampled_spearman(scores, truth, resamples=8, seed=3)
    again = generator(3, "bootstrap")
    for tau, rho in zip(taus, rhos, strict=True):
        rows = again.integers(n, size=n)
        assert tau == pytest.approx(stats.kendalltau(scores[rows], truth[rows]).statistic)
        assert rho == pytest.approx(stats.spearmanr(scores[rows], truth[rows]).statistic)


def test_interval_leaves_out_resamples_where_the_statistic_is_undefined():
    taus = resampled_kendall_tau([1, 2], [1, 2], resamples=50)
    assert set(taus[np.isfinite(taus)]) == {1.0}
    assert np.isnan(taus).any()  # half of the resamples hold one architecture twice
    assert interval(1.0, taus) == Interval(value=1.0, low=1.0, high=1.0)
    constant = resampled_spearman([1, 1], [1, 2], resamples=50)
    assert math.isnan(interval(math.nan, constant).low)


@pytest.mark.parametrize("n", [0, 1])
def test_resampled_statistics_of_one_architecture_are_undefined(n):
    assert np.isnan(resampled_kendall_tau([1.0] * n, [2.0] * n)).all()


@pytest.mark.parametrize("statistic", [resampled_kendall_tau, resampled_spearman])
def test_interval_covers_the_true_value_in_95_percent_of_trials(statistic):
    """Of two normal variables with correlation r, τ is 2/π · asin r, ρ is 6/π · asin r/2."""
    r, n, trials = 0.7, 60, 100
    known = {
        resampled_kendall_tau: 2 / math.pi * math.asin(r),
        resampled_spearman: 6 / math.pi * math.asin(r / 2),
    }[statistic]
    held = 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=n)
        scores = r * truth + math.sqrt(1 - r * r) * rng.normal(size=n)
        found = interval(0.0, statistic(scores, truth, resamples=400, seed=seed))
        held += found.low <= known <= found.high
    # 95% is 95 ± 2; a percentile interval of 60 is known to hold a little less.
    assert 89 <= held <= 99


def test_interval_of_paired_difference_is_narrower_than_of_unpaired():
    """Two scores that err alike: their difference is known far better than either."""
    rng = np.random.default_rng(4)
    truth = rng.normal(size=150)
    error = rng.normal(size=150)
    good, bad = truth + error, truth + 1.3 * error
    of_good = resampled_kendall_tau(good, truth)
    paired = interval(0, of_good - resampled_kendall_tau(bad, truth))
    unpaired = interval(0, of_good - resampled_kendall_tau(bad, truth, seed=1))
    assert 0 < paired.low < kendall_tau(good, truth) - kendall_tau(bad, truth) < paired.high
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 3


def test_best_tenth_is_rounded_up_and_includes_ties():
    assert best_tenth([3, 1, 2]).tolist() == [True, False, False]
    assert best_tenth(list(range(20))).nonzero()[0].tolist() == [18, 19]
    assert best_tenth([5, 5, 5, 1, 1, 1, 1, 1, 1, 1, 1]).sum() == 3


def test_regret_is_as_worked_out_by_hand():
    truth = [90.0, 94.0, 91.0, 80.0]
    scores = [3.0, 1.0, 2.0, 4.0]  # chooses 80, then 90, then 91, then 94
    assert [regret(scores, truth, among) for among in (1, 2, 3, 4)] == [14, 4, 3, 0]
    assert regret([math.nan, 1, 2, 3], truth, 4) == 0


@pytest.mark.parametrize("among", [1, 2, 3, 5, 6])
def test_regret_of_equal_scores_is_the_mean_over_all_choices(among):
    truth = np.array([90.0, 94.0, 91.0, 80.0, 91.0, 85.0])
    scores = np.array([2, 1, 1, 1, 2, 1])
    found = []
    for order in itertools.permutations(range(6)):
        chosen = sorted(order, key=lambda one: -scores[one])[:among]  # stable: order breaks ties
        found.append(94 - truth[chosen].max())
    assert regret(scores, truth, among) == pytest.approx(np.mean(found))


@pytest.mark.parametrize("values", [1000, 12])  # few values: many are equal
def test_interval_of_random_orders_is_that_of_drawn_ones(values):
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


def test_interval_of_random_orders_of_few_or_equal_values():
    assert kendall_at_random([1, 2]).model_dump() == {"value": 0, "low": -1, "high": 1}
    assert math.isnan(kendall_at_random([1, 1]).low)
    assert math.isnan(spearman_at_random([]).high)


def test_kendall_tau_of_two_values_is_defined():
    assert kendall_tau([1, 2], [5, 9]) == pytest.approx(1)
    assert spearman([1, 2], [9, 5]) == pytest.approx(-1)


def test_comparison_of_four_is_as_worked_out_by_hand():
    compare = RankComparison(
        truth=np.array([1.0, 2.0, 3.0, 4.0]),
        scores=np.array([1.0, 3.0, 2.0, 4.0]),
        params=np.array([1.0, 1.0, 2.0, 2.0]),
    )
    other = compare.with_score(np.array([4.0, 1.0, 2.0, 3.0]))
    # One pair of six is turned around, and three.
    assert compare.score.kendall_tau.value == pytest.approx(4 / 6)
    assert other.kendall_tau.value == pytest.approx(0)
    assert other.tau_difference is not None
    assert other.tau_difference.value == pytest.approx(4 / 6)
    assert compare.score.tau_difference is None
    assert compare.score.regret == {1: 0, 5: None, 10: None}
    assert compare.score.equal_size_tau == 1
    assert other.regret[1] == 3
    assert compare.at_random().regret[1] == pytest.approx(4 - 2.5)


def test_comparison_of_score_with_itself_has_no_difference():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    scores = truth + rng.normal(size=40)
    same = RankComparison(truth, scores, np.ones(len(truth))).with_score(3 * scores + 1)
    assert same.tau_difference is not None
    assert (same.tau_difference.low, same.tau_difference.high) == (0, 0)


def test_undefined_statistics_are_null_in_json():
    compare = RankComparison(
        truth=np.array([1.0, 2.0, 3.0, 4.0]), scores=np.zeros(4), params=np.ones(4)
    )
    document = compare.score.model_dump(mode="json")
    json.dumps(document, allow_nan=False)
    assert document["kendall_tau"] == {"value": None, "low": None, "high": None}
    assert document["top_tenth_tau"]["value"] is None  # of one architecture
    assert document["regret"] == {"1": 1.5, "5": None, "10": None}
    assert document["tau_difference"] is None


def test_top_precision_is_the_share_of_the_top_twentieth_that_is_truly_there():
    truth = np.arange(40.0)
    scores = truth.copy()
    assert top_precision(scores, truth) == 1
    scores[39] = -1  # the best comes last: 38 and 37 are taken, of which 38 belongs to the top two
    assert top_precision(scores, truth) == 0.5
    assert top_precision(-truth, truth) == 0


def test_top_precision_of_a_constant_score_is_that_of_chance():
    assert top_precision(np.zeros(40), np.arange(40.0)) == pytest.approx(2 / 40)


def test_ndcg_is_as_worked_out_by_hand():
    # Gains 0, ½ and 1 at the places 1, 3 and 2.
    by_hand = (1 / math.log2(3) + 0.5 / 2) / (1 + 0.5 / math.log2(3))
    assert ndcg([3, 1, 2], [80.0, 85.0, 90.0]) == pytest.approx(by_hand)
    assert ndcg([1, 2, 3], [80.0, 85.0, 90.0]) == pytest.approx(1)
    assert math.isnan(ndcg([1, 2, 3], [5, 5, 5]))


def test_tau_at_equal_size_is_as_counted_pair_by_pair():
    rng = np.random.default_rng(2)
    scores, truth = rng.integers(6, size=(2, 40))
    params = rng.choice([100, 104, 110, 500], size=40)
    agree = differs = true_differs = 0
    for i, j in itertools.combinations(range(40), 2):
        if max(params[i], params[j]) * 0.95 <= min(params[i], params[j]):
            agree += int(np.sign(scores[i] - scores[j]) * np.sign(truth[i] - truth[j]))
            differs += scores[i] != scores[j]
            true_differs += truth[i] != truth[j]
    by_hand = agree / math.sqrt(differs * true_differs)
    assert tau_at_equal_size(scores, truth, params) == pytest.approx(by_hand)


def test_tau_at_equal_size_of_a_ranking_by_size_is_undefined():
    params = [1, 1, 2, 2]
    assert math.isnan(tau_at_equal_size(params, [1, 2, 3, 4], params))
    assert math.isnan(tau_at_equal_size([1, 2, 3], [1, 2, 3], [1, 2, 3]))


@pytest.mark.parametrize(("n", "low"), [(3, -0.95), (12, 0.0815), (60, 0.7686)])
def test_interval_of_a_perfect_order_is_that_of_disjoint_pairs(n, low):
    order = np.arange(n)
    found = correlation_interval(1.0, resampled_kendall_tau(order, order), n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-3), 1.0)
    share = (1 + found.low) / 2  # of pairs that are ordered alike
    assert share ** (n // 2) == pytest.approx(0.025)
    reversed_ = correlation_interval(-1.0, resampled_kendall_tau(-order, order), n)
    assert (reversed_.low, reversed_.high) == (-1.0, pytest.approx(-low, abs=1e-3))


def test_interval_of_another_order_is_that_of_its_resamples():
    taus = np.linspace(0.2, 0.9, 1001)
    assert correlation_interval(0.5, taus, 10) == interval(0.5, taus)


def test_difference_of_three_networks_tells_nothing():
    compare = RankComparison(np.arange(3.0), np.arange(3.0), np.ones(3))
    reversed_order = compare.with_score(-np.arange(3.0))
    assert tuple(dict(reversed_order.tau_difference).values()) == (2.0, -2.0, 2.0)
