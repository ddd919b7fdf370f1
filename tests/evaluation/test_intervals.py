"""Intervals of errors, compared with SciPy's."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from smash.evaluation import Evaluation, error_interval, mean_error


def test_error_interval_is_that_of_wilson():
    expected = binomtest(7, 269).proportion_ci(method="wilson")
    assert error_interval(7 / 269, 269) == pytest.approx((expected.low, expected.high))


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
