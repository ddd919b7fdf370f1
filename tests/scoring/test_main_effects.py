from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from smash.correlation.statistics import kendall_tau
from smash.errors import InvalidValueError
from smash.scoring.main_effects import choices_of, main_effects, paths_of, smoothed
from smash.spaces.choices.choose import Choices
from smash.spaces.nas_bench_201.architecture import read_cell

OPTIONS = {"kernel": "357", "depth": "123", "width": "ab"}
GRID = [dict(zip(OPTIONS, row, strict=True)) for row in itertools.product(*OPTIONS.values())]
EFFECTS = {"3": 0.0, "5": -0.2, "7": -0.3, "1": 0.0, "2": -0.4, "a": 0.0, "b": -0.1}


def sums(choices):
    return np.array([sum(EFFECTS.get(option, 0.0) for option in each.values()) for each in choices])


def test_sums_of_effects_are_fitted_exactly():
    fitted = main_effects(1.5 + sums(GRID), GRID)
    np.testing.assert_allclose(fitted, 1.5 + sums(GRID), atol=1e-3)


def test_fit_is_that_of_ridge_regression_by_generalised_cross_validation():
    rng = np.random.default_rng(0)
    rows = [GRID[at] for at in rng.integers(len(GRID), size=60)]
    rows = [{k: v for k, v in row.items() if k != "width" or row["depth"] != "1"} for row in rows]
    scores = sums(rows) + rng.normal(0, 0.2, len(rows))
    columns = sorted({item for row in rows for item in row.items()})
    hot = np.array([[float(row.get(name) == option) for name, option in columns] for row in rows])
    # scikit-learn's cross-validation leaves one out, so that its penalty may be a neighbour's.
    other = RidgeCV(np.logspace(-2, 4, 25)).fit(hot, scores).predict(hot)
    np.testing.assert_allclose(main_effects(scores, rows), other, atol=0.02)


def test_smoothing_ranks_better_where_combinations_are_noise():
    rng = np.random.default_rng(1)
    truth = sums(GRID)
    gained = []
    for _ in range(20):
        noise = rng.normal(0, 0.15, len(GRID))  # of each combination, as shared weights have
        gained.append(
            kendall_tau(smoothed(truth + noise, GRID), truth) - kendall_tau(truth + noise, truth)
        )
    assert np.mean(gained) > 0.05


def test_scores_that_are_not_finite_stay_and_spoil_no_other():
    scores = sums(GRID)
    scores[[2, 5]] = np.inf, np.nan
    found = smoothed(scores, GRID)
    np.testing.assert_array_equal(found[[2, 5]], [np.inf, np.nan])
    rest = np.delete(np.arange(len(GRID)), [2, 5])
    np.testing.assert_allclose(found[rest], sums(GRID)[rest], atol=0.01)


def test_more_candidates_than_a_block_are_fitted_as_one(monkeypatch):
    scores = sums(GRID) + np.random.default_rng(2).normal(0, 0.1, len(GRID))
    whole = main_effects(scores, GRID)
    monkeypatch.setattr("smash.scoring.main_effects._BLOCK", 5)
    np.testing.assert_allclose(main_effects(scores, GRID), whole)


def test_choices_are_the_same_from_json_and_from_an_architecture():
    assert choices_of(Choices((("width", 8), ("kind", "a")))) == choices_of(
        {"width": 8, "kind": "a"}
    )
    with pytest.raises(InvalidValueError, match="spaces of choices"):
        choices_of("|none~0|")


def test_counts_of_paths_are_the_same_for_cells_that_compute_the_same():
    skipped = read_cell(
        "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
    )
    direct = read_cell("|none~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|avg_pool_3x3~2|")
    expected = {"paths": "2", "empty": "1", "longest": "2", "none": "0", "skip_connect": "0"}
    expected |= {"nor_conv_1x1": "0", "nor_conv_3x3": "1", "avg_pool_3x3": "1"}
    assert skipped.canonical == direct.canonical
    assert paths_of(skipped) == paths_of(direct) == paths_of({"cell": str(direct)}) == expected
    for other in ({"width": 8}, Choices((("width", 8),)), "a"):
        with pytest.raises(InvalidValueError, match="cell"):
            paths_of(other)
