from __future__ import annotations

import json

import numpy as np
import pytest

from smash.correlation.statistics import Comparison


def test_rankings_of_four_by_hand():
    compare = Comparison(
        truth=np.array([1.0, 2.0, 3.0, 4.0]), scores=np.array([1.0, 3.0, 2.0, 4.0])
    )
    other = compare.with_score(np.array([4.0, 1.0, 2.0, 3.0]))
    # One pair of six is turned around, and three.
    assert compare.score.kendall_tau.value == pytest.approx(4 / 6)
    assert other.kendall_tau.value == pytest.approx(0)
    assert other.tau_difference is not None
    assert other.tau_difference.value == pytest.approx(4 / 6)
    assert compare.score.tau_difference is None
    assert compare.score.regret == {1: 0, 10: None, 100: None}
    assert other.regret[1] == 3
    assert compare.at_random().regret[1] == pytest.approx(4 - 2.5)


def test_a_ranking_compared_with_itself_has_no_difference():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    scores = truth + rng.normal(size=40)
    same = Comparison(truth, scores).with_score(3 * scores + 1)
    assert same.tau_difference is not None
    assert (same.tau_difference.low, same.tau_difference.high) == (0, 0)


def test_what_is_not_defined_is_null():
    compare = Comparison(truth=np.array([1.0, 2.0, 3.0, 4.0]), scores=np.zeros(4))
    document = compare.score.as_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["kendall_tau"] == {"value": None, "low": None, "high": None}
    assert document["top_tenth_tau"]["value"] is None  # of one architecture
    assert document["regret"] == {"1": 1.5, "10": None, "100": None}
    assert "tau_difference" not in document
