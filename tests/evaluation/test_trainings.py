"""Intervals over several trainings: seeds and examples together, paired differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from smash.evaluation import Evaluation, mean_error
from smash.evaluation.trainings import (
    SeedSpread,
    difference_interval,
    mean_difference_interval,
    mean_error_interval,
    spreads_of,
)

ALONE = SeedSpread(0.0, 0)


def test_mean_error_interval_of_one_seed_is_wilsons():
    wrong = np.zeros((1, 200), bool)
    wrong[0, :7] = True
    found = mean_error_interval(wrong, ALONE)
    expected = stats.binomtest(7, 200).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_mean_error_interval_without_errors_is_not_empty():
    found = mean_error_interval(np.zeros((3, 100), bool), ALONE)
    assert found.low == 0 and found.high == pytest.approx(0.0370, abs=1e-3)  # z²/(n + z²)


def test_mean_error_interval_of_many_examples_is_students_over_seeds():
    rng = np.random.default_rng(0)
    errors = np.array([0.1, 0.14, 0.12])
    wrong = rng.random((3, 2_000_000)) < errors[:, None]
    found = mean_error_interval(wrong, SeedSpread.of([wrong]))
    means = wrong.mean(1)
    expected = stats.t.interval(0.95, 2, means.mean(), stats.sem(means))
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-3)


def test_seed_spread_pools_the_variance_of_all_networks():
    first, second = np.zeros((2, 3, 100), bool)
    for seed, (one, other) in enumerate(((10, 30), (20, 30), (30, 36))):
        first[seed, :one], second[seed, :other] = True, True
    spread = SeedSpread.of([first, second])
    pooled = (np.var([0.1, 0.2, 0.3], ddof=1) + np.var([0.3, 0.3, 0.36], ddof=1)) / 2
    assert spread.deviation == pytest.approx(np.sqrt(pooled))
    assert spread.freedom == 4


def test_spreads_of_a_network_with_a_collapsed_training_leaves_the_others_alone():
    wrongs = np.zeros((5, 3, 1000), bool)
    for network, counts in enumerate(
        [(70, 80, 90), (82, 80, 75), (100, 90, 95), (140, 150, 160), (160, 900, 200)]
    ):
        for seed, count in enumerate(counts):
            wrongs[network, seed, :count] = True
    *alike, collapsed = spreads_of(list(wrongs))
    assert alike == 4 * [SeedSpread.of(list(wrongs[:4]))]
    assert collapsed == SeedSpread.of([wrongs[4]])
    # The largest of 5 variances of 2 degrees of freedom: ISO 5725-2 tables 0.788 for 1%.
    edge = np.zeros((5, 3, 10_000), bool)
    for network, step in enumerate((10, 10, 10, 10, 37)):
        for seed in range(3):
            edge[network, seed, : 500 + seed * step] = True
    share = 37**2 / (37**2 + 4 * 10**2)
    assert 0.75 < share < 0.788
    assert len(set(spreads_of(list(edge)))) == 1
    edge[4, 2, : 500 + 2 * 37 + 10] = True
    assert len(set(spreads_of(list(edge)))) == 2


def test_spreads_of_one_seed_are_none():
    assert spreads_of(list(np.zeros((3, 1, 10), bool))) == 3 * [SeedSpread(0.0, 0)]


def test_difference_interval_of_a_network_with_itself_is_zero():
    wrong = np.random.default_rng(0).random((3, 50)) < 0.3
    spread = SeedSpread.of([wrong])
    found = difference_interval(wrong, wrong, spread, spread)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_difference_interval_of_one_seed_is_that_of_bonett_and_price():
    one, other = np.zeros((2, 1, 20), bool)
    one[0, :5], other[0, 4:6] = True, True  # 4 are missed by the one alone, 1 by the other alone
    found = difference_interval(one, other, ALONE, ALONE)
    alone, other_alone = (4 + 1) / 22, (1 + 1) / 22
    half = 1.96 * np.sqrt((alone + other_alone - (alone - other_alone) ** 2) / 22)
    assert found.value == pytest.approx(3 / 20)
    assert found.low == pytest.approx(alone - other_alone - half, abs=1e-5)
    assert found.high == pytest.approx(alone - other_alone + half, abs=1e-5)


@pytest.mark.parametrize("examples", [10, 30, 100])
def test_difference_interval_of_few_examples_holds_the_difference_as_often_as_it_says(examples):
    rng, held = np.random.default_rng(5), 0
    right = np.zeros((1, examples), bool)
    for _ in range(1000):
        found = difference_interval(rng.random((1, examples)) < 0.05, right, ALONE, ALONE)
        held += found.low <= 0.05 <= found.high
        assert found.low < found.high
    assert held > 930


def test_difference_interval_of_many_examples_is_that_of_the_two_sample_t_test():
    rng = np.random.default_rng(4)
    one = rng.random((3, 2_000_000)) < np.array([0.3, 0.34, 0.32])[:, None]
    other = rng.random((3, 2_000_000)) < np.array([0.26, 0.25, 0.29])[:, None]
    spread = SeedSpread.of([one, other])
    found = difference_interval(one, other, spread, spread)
    expected = stats.ttest_ind(one.mean(1), other.mean(1)).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-3)


def test_difference_interval_of_a_collapsed_training_ends_at_a_hundred_points():
    wrong = np.zeros((3, 1000), bool)
    wrong[0] = True
    found = difference_interval(wrong, np.zeros_like(wrong), SeedSpread.of([wrong]), ALONE)
    assert (found.low, found.high) == (-1, 1)


def test_mean_difference_interval_is_wider_by_the_seeds_of_the_winner():
    drawn = 2 * [np.ones((1, 2_000_000), bool)]
    winner = np.zeros((1, 2_000_000), bool)
    found = mean_difference_interval(drawn, winner, SeedSpread(0.02, 4))
    assert found.value - found.low == pytest.approx(stats.t.ppf(0.975, 4) * 0.02)


def test_mean_difference_interval_of_many_examples_is_students_over_the_drawn_networks():
    rng = np.random.default_rng(2)
    drawn = [rng.random((1, 2_000_000)) < error for error in (0.3, 0.34, 0.32, 0.37)]
    winner = rng.random((1, 2_000_000)) < 0.25
    found = mean_difference_interval(drawn, winner, ALONE)
    gaps = np.array([each.mean() for each in drawn]) - winner.mean()
    expected = stats.t.interval(0.95, 3, gaps.mean(), stats.sem(gaps))
    assert found.value == pytest.approx(gaps.mean())
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-3)


def test_mean_difference_interval_of_equal_networks_is_the_paired_one_over_examples():
    one, other = np.random.default_rng(3).random((2, 1, 400)) < 0.2
    found = mean_difference_interval([one, one], other, ALONE)
    expected = difference_interval(one, other, ALONE, ALONE)
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert mean_difference_interval([one], other, ALONE) is None


def test_mean_error_of_equal_seeds_has_the_interval_of_one():
    one = Evaluation(
        split="val",
        examples=100,
        error=0.1,
        expected_error=0.2,
        top5_error=0.0,
        macro_f1=0.9,
        loss=0.3,
        recall=[0.9],
    )
    assert mean_error([one, one, one]) == pytest.approx((0.1, *one.interval))
