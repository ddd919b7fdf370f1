"""Candidates trained in stages, until their ranking is judged."""

from __future__ import annotations

import numpy as np
import pytest

import smash
from smash.correlation.stages import (
    LEVEL,
    LOOKS,
    TrainingClock,
    agrees_beyond_chance,
    spread_over_ranks,
)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 64, 100])
def test_spread_over_ranks_takes_each_beginning_from_all_over_the_ranking(n):
    ordered = spread_over_ranks(range(n))
    assert sorted(ordered) == list(range(n))
    assert ordered[0] == 0
    for count in (2, 4, 8, 16):
        if count <= n:
            gaps = np.diff([*sorted(ordered[:count]), n])
            assert max(gaps) <= n / count + 1


def test_agrees_beyond_chance_at_all_looks_passes_a_worthless_ranking_in_one_of_twenty_cases():
    rng = np.random.default_rng(0)
    drawn = rng.random((1000, 2, LOOKS[-1]))
    passed = sum(any(agrees_beyond_chance(x[:n], y[:n]) for n in LOOKS) for x, y in drawn)
    assert 0.01 < passed / len(drawn) < LEVEL


def test_agrees_beyond_chance_needs_agreement_and_not_the_opposite():
    truth = np.arange(8.0)
    assert agrees_beyond_chance(truth, truth)
    assert not agrees_beyond_chance(-truth, truth)
    assert not agrees_beyond_chance(np.zeros(8), truth)
    assert not agrees_beyond_chance(truth[:3], truth[:3])  # three in order may be chance


def test_clock_without_time_for_another_says_so():
    assert TrainingClock(minutes=1).record_training()
    assert not TrainingClock(minutes=1e-9).record_training()


@pytest.fixture
def searched(run):
    smash.search(run, random=9, perturb=0, markov=0, device="cpu")
    return run


def test_correlate_for_minutes_trains_until_the_time_is_over(searched):
    said: list[str] = []
    options = {"minutes": 0.001, "device": "cpu", "announce": said.extend}
    found = smash.correlate(searched, **options)
    assert found.n == 3
    assert said == [
        "trains candidates for 1 epoch each, for 0.001 minutes at most",
        "the time is over after 3 trained networks",
    ]
    assert found.truth.endswith("audit split after 1 epoch")
    ranked = [each.id for each in smash.Study(searched.study_path).ranked()]
    best, *_ = (point.id for point in found.points)
    assert best == ranked[0]
    again = smash.correlate(searched, **options, train=3)  # finished trainings are kept
    assert again.model_dump_json() == found.model_dump_json()


def test_correlate_for_minutes_times_epochs_anew_for_other_trainings(searched, monkeypatch):
    timed: list[int] = []

    def choose(run, candidate, child, minutes, device):
        timed.append(child.batch_size)
        return 1

    monkeypatch.setattr("smash.correlation.correlate.choose_epochs", choose)
    for batch_size in (100, 100, 50):
        smash.correlate(searched, minutes=0.002, train=3, batch_size=batch_size, device="cpu")
    assert timed == [100, 50]


def test_correlate_for_minutes_ends_with_the_number_to_train(searched):
    said: list[str] = []
    options = {"minutes": 10, "epochs": 1, "train": 4, "device": "cpu"}
    assert smash.correlate(searched, **options, announce=said.extend).n == 4
    assert said == ["trains candidates for 1 epoch each, for 10 minutes at most"]
