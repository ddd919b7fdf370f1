from __future__ import annotations

import numpy as np
import pytest
from benchmarks.cells import judged


def test_judged_of_a_perfect_ranking_loses_nothing():
    truth = np.arange(400.0)
    found = judged(lambda rows: truth[rows], truth, params=np.ones(400))
    assert found["tau"] == {"value": 1, "low": 1, "high": 1}
    assert found["equal_size_tau"] == found["top_tenth_tau"] == pytest.approx(1)
    assert found["regret"] == {1: 0, 5: 0, 10: 0}


def test_judged_of_a_reversed_ranking_loses_the_spread_of_a_sample():
    truth = np.arange(400.0)
    found = judged(lambda rows: -truth[rows], truth, params=np.ones(400))
    assert found["tau"]["value"] == -1
    # The largest and the smallest of 300 out of 400 are 299/301 of 401 apart.
    assert found["regret"][1] == pytest.approx(401 * 299 / 301, abs=1)
