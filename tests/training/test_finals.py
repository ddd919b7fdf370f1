"""Successive halving: how many candidates are trained for how long, and within which share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smash.training.finals import plan_rungs


@pytest.mark.parametrize(
    ("candidates", "settings", "rungs"),
    [
        (200, {"epochs": 7}, []),
        (200, {"epochs": 8}, [(4, 1), (2, 2)]),
        (200, {"epochs": 30}, [(8, 1), (4, 2), (2, 4)]),
        (200, {"epochs": 100}, [(16, 1), (8, 2), (4, 4), (2, 8)]),
        (200, {"epochs": 100, "share": 0.24}, [(8, 1), (4, 2), (2, 4)]),
        (200, {"epochs": 100, "share": 0.0}, []),
        (200, {"epochs": 100, "finalists": 1}, []),
        (200, {"epochs": 100, "finalists": 8}, [(8, 4), (4, 8), (2, 16)]),
        (200, {"epochs": 12, "finalists": 5}, [(5, 1), (3, 2), (2, 4)]),
        (5, {"epochs": 100}, [(4, 12), (2, 24)]),
        (2, {"epochs": 100}, []),
        (0, {"epochs": 100}, []),
        (200, {"epochs": 3, "finalists": 16}, [(16, 1), (8, 2), (4, 3), (2, 3)]),
    ],
)
def test_plan_rungs_halves_candidates_and_doubles_epochs(candidates, settings, rungs):
    assert plan_rungs(candidates, **settings) == rungs


@given(st.integers(0, 300), st.integers(1, 300), st.floats(0, 3))
def test_plan_rungs_by_default_stays_within_the_share(candidates, epochs, share):
    rungs = plan_rungs(candidates, epochs, share=share)
    assert sum(count * length for count, length in rungs) <= share * epochs
