from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats

from smash.scoring.priors import joint_score
from smash.scoring.score import Score
from smash.scoring.scorer import rung_ends
from smash.searching.racing import Race
from tests.study.candidates import make_candidate

ALL = 1000


def draw_losses(rng, count, spread=0.1, noise=0.5):
    """Losses of candidates on all examples: some are hard for all, and each has its own noise."""
    hard = rng.gamma(1.0, 1.0, ALL)
    level = rng.normal(0, spread, (count, 1))
    own = rng.normal(0, noise, (count, ALL)) * rng.gamma(2.0, 0.5, ALL)
    return torch.tensor(hard + level + own)


def cohort_of(numbers, **fields):
    return [make_candidate(str(number), index=number, **fields, score=None) for number in numbers]


def run_race(race, cohort, losses, leaders=(), stop_after=math.inf):
    """Runs a race of candidates with known losses.

    Returns:
        The numbers of the candidates as they settled, and after how many examples.
    """
    order = []

    def predict(candidates, rung):
        begin, end = [0, *race.rungs][rung : rung + 2]
        return (losses[candidate.index, begin:end] for candidate in candidates)

    def settle(candidate):
        assert torch.equal(candidate.values, losses[candidate.index, : len(candidate.values)])
        candidate.score = Score(
            error=0, top5_error=0, loss=0, rank_by="loss", split="val", examples=1
        )
        order.append((candidate.index, len(candidate.values)))
        if len(order) == stop_after:
            raise KeyboardInterrupt

    try:
        race.run(cohort, leaders, predict, lambda predicted, begin: predicted, settle)
    except KeyboardInterrupt:
        assert len(order) == stop_after
    return order


def leaders_of(losses, keep):
    best = losses.mean(1).argsort()[:keep].tolist()
    return [make_candidate(str(number), values=losses[number]) for number in best]


def test_is_surely_worse_agrees_with_a_difference_estimate():
    rng = np.random.default_rng(0)
    losses = draw_losses(rng, 6)
    leaders = leaders_of(losses[:4], 3)
    race = Race([100, 200, 400, ALL], keep=3, confidence=0.9)
    theirs = torch.stack([leader.values for leader in leaders]).numpy()
    for seen in (100, 200, 400):
        for shift in np.linspace(-0.3, 0.6, 19):
            values = losses[5].numpy()[:seen] + shift
            apart = values - theirs.mean(0)[:seen]
            estimate = apart.mean() + theirs.mean()
            variance = apart.var(ddof=1) / seen * (ALL - seen) / ALL
            t = (estimate - theirs.mean(1).max()) / math.sqrt(variance)
            expected = stats.t.sf(t, seen - 1) < 0.1 / 3
            assert race.is_surely_worse(torch.tensor(values), leaders) == expected


def test_is_surely_worse_of_an_equal_is_no_more_frequent_than_stated():
    """Candidates that are in truth exactly as good as the last leader, against the stated tenth."""
    seed, trials, keep = 1, 600, 5
    rng = np.random.default_rng(seed)
    ends = rung_ends(ALL)
    race = Race(ends, keep=keep, confidence=0.9)
    dropped = 0
    for _ in range(trials):
        losses = draw_losses(rng, keep + 1)
        worst = losses[:keep].mean(1).max()
        tie = losses[keep] - losses[keep].mean() + worst
        leaders = leaders_of(losses[:keep], keep)
        dropped += any(race.is_surely_worse(tie[:end], leaders) for end in ends[:-1])
    # Two and a half standard deviations of the binomial above what is stated; and not never.
    limit = 0.1 * trials + 2.5 * math.sqrt(0.09 * trials)
    assert 0.01 * trials < dropped < limit, (seed, dropped)


def test_race_without_quota_loses_the_best_few_no_more_often_than_stated():
    seed, keep, trials = 2, 5, 20
    rng = np.random.default_rng(seed)
    ends = rung_ends(ALL)
    lost = dropped = 0
    for _ in range(trials):
        losses = draw_losses(rng, 60)
        truth = set(losses.mean(1).argsort()[:keep].tolist())
        full: list[int] = []
        for begin in range(0, 60, 20):
            race = Race(ends, keep=keep, confidence=0.9, reduction_factor=1.0)
            leaders = leaders_of(losses[full], keep) if full else []
            settled = run_race(race, cohort_of(range(begin, begin + 20)), losses, leaders)
            full += [number for number, seen in settled if seen == ALL]
            dropped += sum(seen < ALL for _, seen in settled)
        lost += len(truth - set(full))
    assert lost <= 0.1 * keep * trials, seed
    assert dropped > 15 * trials, seed  # or it would be no race


def test_race_drops_what_is_outside_the_quota_after_each_rung():
    losses = torch.arange(10.0).repeat(4, 1).T.double()  # candidate number i has loss i
    race = Race([1, 2, 4], keep=2, reduction_factor=2.5)
    order = run_race(race, cohort_of(range(10)), losses)
    # Of ten, four go on; of four, two.
    assert order == [*[(n, 1) for n in range(4, 10)], (2, 2), (3, 2), (0, 4), (1, 4)]


def test_within_quota_spares_the_best_few_of_cohort_and_leaders():
    leaders = [make_candidate(values=torch.full((4,), value)) for value in (-2.0, 0.5)]
    race = Race([1, 2, 4], keep=2, reduction_factor=3)
    for first in (0, 1):
        seen = cohort_of(range(first, first + 3))
        for candidate in seen:
            candidate.trace = {1: float(candidate.index)}
        # With leaders of -2 and 0.5, number 0 alone is among the best two; a third of three is one.
        assert race.within_quota(seen, leaders, 1) == [True, False, False]
    race = Race([1, 2, 4], keep=5, reduction_factor=3)
    assert race.within_quota(seen, leaders, 1) == [True, True, True]


@pytest.mark.parametrize("keep", [1, 4])
def test_race_interrupted_anywhere_resumes_to_the_same_end(keep):
    rng = np.random.default_rng(3)
    losses = draw_losses(rng, 24)
    leaders = leaders_of(losses[12:], keep)
    race = Race(rung_ends(ALL), keep=keep)
    first = cohort_of(range(12))
    whole = run_race(race, first, losses, leaders)
    assert {seen for _, seen in whole} > {100, ALL}
    for kill in range(1, 13):
        interrupted = cohort_of(range(12))
        done = run_race(race, interrupted, losses, leaders, stop_after=kill)
        settled = dict(done)
        resumed = [
            replace(candidate, values=None, predicted=None) if candidate.index in settled else fresh
            for candidate, fresh in zip(interrupted, cohort_of(range(12)), strict=True)
        ]
        assert done + run_race(race, resumed, losses, leaders) == whole
        assert [each.trace for each in resumed] == [each.trace for each in first]


def test_race_with_a_prior_ranks_by_both():
    losses = torch.arange(6.0).repeat(4, 1).T.double()
    cohort = cohort_of(range(6))
    for candidate, proxy in zip(cohort, (0.0, 5.0, 4.0, 3.0, 2.0, 1.0), strict=True):
        candidate.proxy = (proxy,)  # number 0 is worst by the proxy
    race = Race(
        [1, 2, 4], keep=1, reduction_factor=1 / 0.3, ranking_keys=partial(joint_score, "macs")
    )
    # Σ log rank, the best having rank 6: 6·1, 5·6, 4·5, 3·4, 2·3, 1·2 for numbers 0 to 5.
    assert run_race(race, cohort, losses) == [(0, 1), (3, 1), (4, 1), (5, 1), (2, 2), (1, 4)]


def test_race_of_close_candidates_is_short_and_loses_little():
    """Candidates differ by less than the noise of the first rung: by 0.016, as memory banks did."""
    seed, spread, trials = 5, 0.016, 12
    rng = np.random.default_rng(seed)
    race = Race(rung_ends(ALL), keep=3)
    lost = []
    for _ in range(trials):
        losses = draw_losses(rng, 100, spread=spread, noise=0.25)
        order = run_race(race, cohort_of(range(100)), losses)
        assert sum(seen for _, seen in order) < 100 * ALL / 5
        truth = losses.mean(1)
        best = min(truth[number] for number, seen in order if seen == ALL)
        lost.append((best - truth.min()).item())
    # The best of three at random is behind by 1.7 spreads, of a hundred Gaussians.
    assert np.mean(lost) < 0.3 * spread, (seed, lost)
