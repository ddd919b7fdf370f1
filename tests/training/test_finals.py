"""Successive halving: how many candidates are trained for how long, and within which share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smash.training.finals import plan_rungs


@pytest.mark.parametrize(
    ("candidates", "settings", "rungs"),
    [
        (200, {"epochs": 100, "finalists": 1, "share": 1.0}, []),
        (200, {"epochs": 100, "finalists": 8, "share": 1.0}, [(8, 4), (4, 8), (2, 16)]),
        (200, {"epochs": 100, "finalists": 8, "share": 0.24}, [(8, 1), (4, 2), (2, 4)]),
        (200, {"epochs": 100, "finalists": 8, "share": 0.0}, [(8, 1), (4, 2), (2, 4)]),
        (200, {"epochs": 12, "finalists": 5, "share": 1.0}, [(5, 1), (3, 2), (2, 4)]),
        (3, {"epochs": 100, "finalists": 8, "share": 1.0}, [(3, 14), (2, 28)]),
        (0, {"epochs": 100, "finalists": 8, "share": 1.0}, []),
        (200, {"epochs": 3, "finalists": 16, "share": 1.0}, [(16, 1), (8, 2), (4, 3), (2, 3)]),
    ],
)
def test_plan_rungs_halves_candidates_and_doubles_epochs(candidates, settings, rungs):
    assert plan_rungs(candidates, **settings) == rungs


@given(st.integers(0, 300), st.integers(1, 300), st.integers(1, 64), st.floats(0, 3))
def test_plan_rungs_stays_within_the_share_or_at_an_epoch_each(
    candidates, epochs, finalists, share
):
    rungs = plan_rungs(candidates, epochs, finalists, share)
    least = plan_rungs(candidates, epochs, finalists, 0.0)
    spent, fewest = (sum(count * length for count, length in plan) for plan in (rungs, least))
    assert spent <= max(share * epochs, fewest)
