"""Draws within a budget: always feasible, repeatable, and distributed as the space is."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats

from smash.profiling.budget import Budget
from smash.profiling.cost import measure_cost
from smash.profiling.feasible import FeasibleSampler, quick_draw
from smash.spaces import MobileSpace, NasBench201Space, Task
from smash.spaces.mobile import choose_options
from smash.spaces.nas_bench_201 import NasBench201Options
from smash.spaces.parameters import count_parameters

TASK = Task(channels=1, size=(8, 8), classes=3)
CELLS = NasBench201Space(NasBench201Options(channels=4, cells=1))


def params(space, architecture):
    return count_parameters(space.build(architecture, TASK))


@cache
def drawn_params(space):
    rng = np.random.default_rng(0)
    return np.array([params(space, space.sample(rng)) for _ in range(100)])


def test_draws_stay_within_both_limits_where_one_in_a_hundred_is_feasible():
    space = MobileSpace(
        choose_options("tiny", {"widths": [[4, 8], [8, 12]], "strides": [1, 2]}), TASK
    )
    budget = Budget(max_params=int(np.quantile(drawn_params(space), 0.01)), max_macs=60_000)
    sampler = FeasibleSampler(space, TASK, budget, seed=0, pool=16)
    drawn = [sampler.draw(np.random.default_rng(seed)) for seed in range(12)]
    assert all(budget.allows(measure_cost(space, each, TASK)) for each in drawn)
    assert len(set(drawn)) > 4


def test_draws_stay_within_limits_of_memory_and_flash():
    space = MobileSpace(
        choose_options("tiny", {"widths": [[4, 8], [8, 12]], "strides": [1, 2]}), TASK
    )
    budget = Budget(max_memory=1024, max_flash="5KB")
    sampler = FeasibleSampler(space, TASK, budget, seed=0, pool=16)
    drawn = [sampler.draw(np.random.default_rng(seed)) for seed in range(12)]
    assert all(budget.allows(measure_cost(space, each, TASK)) for each in drawn)
    assert len(set(drawn)) > 4


def test_draws_depend_on_the_seed_and_the_generator_alone():
    budget = Budget(max_params=12_000)
    one, other = (FeasibleSampler(CELLS, TASK, budget, seed=3, pool=16) for _ in range(2))
    one.draw(np.random.default_rng(9))
    first, second = (each.draw(np.random.default_rng(1)) for each in (one, other))
    assert first == second


def test_draws_have_the_costs_of_plain_draws_that_are_feasible():
    every = drawn_params(CELLS)
    limit = int(np.quantile(every, 0.5))
    sampler = FeasibleSampler(CELLS, TASK, Budget(max_params=limit), seed=0, pool=32)
    rng = np.random.default_rng(5)
    drawn = [params(CELLS, sampler.draw(rng)) for _ in range(60)]
    plain = [each for each in every if each <= limit]
    assert stats.ks_2samp(drawn, plain).pvalue > 0.001


@pytest.mark.parametrize(("share", "is_needed"), [(0.02, True), (0.6, False)])
def test_quick_draw_is_given_where_few_are_within_the_budget(share, is_needed):
    limit = int(np.quantile(drawn_params(CELLS), share))
    draw = quick_draw(CELLS, TASK, Budget(max_params=limit), seed=0)
    assert (draw is not None) == is_needed
    if draw:
        drawn = [draw(np.random.default_rng(seed)) for seed in range(8)]
        assert all(params(CELLS, each) <= limit for each in drawn)
        assert len(set(drawn)) > 4


def test_quick_draw_is_not_given_without_limits():
    assert quick_draw(CELLS, TASK, Budget(), seed=0) is None
