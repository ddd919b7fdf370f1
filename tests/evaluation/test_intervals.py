"""The interval of an error, compared with SciPy's."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from smash.evaluation import error_interval


def test_error_interval_is_that_of_wilson():
    expected = binomtest(7, 269).proportion_ci(method="wilson")
    assert error_interval(7 / 269, 269) == pytest.approx((expected.low, expected.high))
