from __future__ import annotations

import math

import pytest

from smash.scoring.rank_aggregation import dense_ranks, log_ranks


def test_dense_ranks_of_values_that_are_not_finite_are_worst():
    ranks = dense_ranks([2.0, math.nan, 1.0, -math.inf, math.inf, 2.0])
    assert ranks.tolist() == [2, 0, 1, 0, 0, 2]


def test_log_ranks_are_as_worked_out_by_hand():
    parts = [[10, 30, 20], [-math.inf, 5, math.nan]]
    first = [math.log(1 / 4), math.log(3 / 4), math.log(2 / 4)]  # ranks 1, 3 and 2
    second = [math.log(1.5 / 4), math.log(3 / 4), math.log(1.5 / 4)]  # ranks 1.5, 3 and 1.5
    assert log_ranks(parts) == pytest.approx([a + b for a, b in zip(first, second, strict=True)])
    weighted = [2 * a + b for a, b in zip(first, second, strict=True)]
    assert log_ranks(parts, [2, 1]) == pytest.approx(weighted)
