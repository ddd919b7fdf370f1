import math

import numpy as np
import pytest
import torch

from smash.racing import Race
from smash.scoring import rungs


def test_parts_double_until_all_is_seen():
    assert rungs(2000) == [125, 250, 500, 1000, 2000]
    assert rungs(1200) == [125, 250, 500, 1000, 1200]
    assert rungs(90) == [90]


def test_the_rival_is_the_last_of_the_best_few():
    race = Race([125, 250], keep=2)
    assert race.rival([3.0, 1.0, 2.0, math.inf]) == 2
    assert race.rival([3.0]) is None
    assert race.rival([3.0, math.inf]) is None


def examples(rng, n, shift=0.0):
    return torch.tensor(rng.gamma(1.0, 1.0, n) + shift)


def raced(race, ends, values, rival):
    """What a candidate with these values was scored on."""
    asked = []

    def parts():
        for begin, end in zip([0, *ends[:-1]], ends, strict=True):
            asked.append(end)
            yield values[begin:end]

    seen = race.run(parts(), lambda part, begin: part, rival)
    assert len(seen) == asked[-1]
    assert torch.equal(seen, values[: len(seen)])
    return len(seen)


def test_who_is_far_behind_is_out_at_once_and_who_is_ahead_sees_all():
    rng = np.random.default_rng(0)
    ends = rungs(2000)
    race = Race(ends, keep=1)
    rival = examples(rng, 2000)
    noise = torch.tensor(rng.normal(0, 0.1, 2000))
    assert raced(race, ends, rival + noise + 1, rival) == ends[0]
    assert raced(race, ends, rival + noise - 1, rival) == 2000


def test_who_is_as_good_is_dropped_no_more_often_than_stated():
    """The share of wrongly dropped ones, of many true ties, against the stated 1 in 10."""
    seed, trials = 1, 1000
    rng = np.random.default_rng(seed)
    ends = rungs(1000)
    race = Race(ends, keep=1, confidence=0.9)
    dropped = 0
    for _ in range(trials):
        rival = examples(rng, 1000)
        dropped += raced(race, ends, examples(rng, 1000), rival) < 1000
    # Three standard deviations of the binomial above what is stated; and not never.
    assert 0.01 * trials < dropped < 0.1 * trials + 3 * math.sqrt(0.09 * trials), seed


def test_the_more_certain_the_later():
    rng = np.random.default_rng(2)
    rival = examples(rng, 4000)
    values = rival + torch.tensor(rng.normal(0.05, 0.7, 4000))
    ends = rungs(4000)
    sure = raced(Race(ends, keep=1, confidence=0.9999), ends, values, rival)
    less = raced(Race(ends, keep=1, confidence=0.6), ends, values, rival)
    assert less < sure


@pytest.mark.parametrize("differences", [torch.zeros(125), torch.zeros(250)])
def test_who_is_equal_stays(differences):
    assert not Race([125, 250]).is_out(differences)
