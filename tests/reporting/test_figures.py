"""The numbers that the figures of a report are drawn from."""

from __future__ import annotations

from dataclasses import replace

from smash.io.records import Interval
from smash.profiling.names import COSTS
from smash.reporting.figures import (
    accuracy_points,
    correlation_estimates,
    error_against_cost,
    progress,
    score_groups,
    training_curves,
)
from smash.reporting.selection import on_the_page
from tests.reporting.made import trust

NAN = float("nan")


def test_training_curves_leave_out_scores_that_no_row_has(contents):
    rows = [{"step": 5, "train_loss": 2.0}, {"step": 9, "train_loss": 1.0, "val_loss": 1.5}]
    curves = training_curves(replace(contents, curves=rows))
    assert list(curves) == ["loss"]
    assert [(line.name, line.points) for line in curves["loss"]] == [
        ("training", [(5, 2.0), (9, 1.0)]),
        ("validation", [(9, 1.5)]),
    ]


def test_charts_of_some_candidates_say_which(contents):
    words = "The points are 30 of the 40 candidates: the best by score and by cost, and an even"
    few = on_the_page(contents, most=30)
    charts = [progress(contents, few), *error_against_cost(contents, few)]
    assert [words in chart.note for chart in charts] == [True] * 5
    assert "points" not in progress(contents, contents.candidates).note


def test_score_groups_hold_the_full_scores_of_each_phase(contents):
    groups = {group.name: group for group in score_groups(contents)}
    assert list(groups) == ["random", "perturb", "markov"]
    for name, group in groups.items():
        phase = [each for each in contents.candidates if each.strategy == name]
        assert group.values == [each.value for each in phase if not each.partial]
        assert group.note.startswith(f"{len(phase)} candidates")


def test_correlation_estimates_leave_out_undefined_ones():
    known, unknown = Interval(value=0.6, low=0.4, high=0.8), Interval(value=NAN, low=NAN, high=NAN)
    estimates = correlation_estimates(trust(known, params=unknown, macs=known))
    assert [(each.name, each.value, each.main) for each in estimates] == [
        ("SMASH score", 0.6, True),
        ("macs", 0.6, False),
    ]


def test_accuracy_points_number_the_candidates_on_the_page(some):
    tau = Interval(value=0.6, low=0.4, high=0.8)
    points = [(some[1].id, 0.5, 0.9), ("elsewhere", 0.7, 0.8), ("infinite", NAN, 0.1)]
    found = accuracy_points(trust(tau, points=points), some)
    assert [(each.number, each.x, each.y) for each in found] == [
        (1, 0.5, 0.9),
        (None, 0.7, 0.8),
    ]


def test_error_against_cost_draws_each_cost_that_all_candidates_have(contents):
    measured = {"memory": 46_080, "flash": 40_000, "latency": 0.002}
    candidates = [replace(each, **measured) for each in contents.candidates]
    figures = error_against_cost(replace(contents, candidates=candidates), candidates)
    assert len(figures) == len(COSTS)
    titles = [figure.title for figure in figures]
    assert titles[2:4] == [
        "Error against RAM of activations in int8",
        "Error against flash in int8",
    ]
    assert len(error_against_cost(contents, contents.candidates)) < len(COSTS)
