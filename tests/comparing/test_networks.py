"""The plain networks that a winner is compared with."""

from __future__ import annotations

import pytest

import smash
from smash.comparing.comparison import OVER, PLAIN
from smash.comparing.networks import Selection
from smash.io.measurements import MeasurementLog
from smash.profiling.budget import Budget
from smash.profiling.cost import cost_of, measure_cost
from smash.profiling.latency import NetworkStopwatch, NetworkTimer
from smash.spaces.baselines import make_baseline
from smash.spaces.nas_bench_201.options import NasBench201Options
from tests.study.candidates import make_candidate

SPACE = smash.NasBench201Space(NasBench201Options(channels=4, cells=1))
TASK = smash.Task(channels=3, size=(8, 8), classes=10)


class MacsTimer(NetworkTimer):
    """Takes a second for a million multiply-accumulates, and logs what it was asked for."""

    kind = "latency device=macs"

    def __init__(self):
        self.asked = []
        self.slow = set()

    def __call__(self, architecture):
        return {"seconds": measure_cost(SPACE, architecture, TASK).macs / 1e6, "spread": 0.0}

    def time_baseline(self, name):
        self.asked.append(name)
        factor = 1000 if name in self.slow else 1  # the first time
        self.slow -= {name}
        macs = cost_of(make_baseline(name, TASK), TASK).macs
        return {"seconds": factor * macs / 1e6, "spread": 0.0}


@pytest.fixture
def timer():
    return MacsTimer()


@pytest.fixture
def selection(timer, tmp_path):
    def make(**limits):
        stopwatch = NetworkStopwatch(SPACE, timer, MeasurementLog(make.log))
        return Selection(SPACE, TASK, Budget(**limits), stopwatch)

    make.log = tmp_path / "times.jsonl"
    return make


def winner_of(architecture, params=1000):
    macs = measure_cost(SPACE, architecture, TASK).macs
    return make_candidate(
        architecture=SPACE.to_json(architecture), params=params, macs=macs, latency=1000.0
    )


@pytest.mark.parametrize("limit", [{"max_memory": 1024}, {"max_flash": 20_000}])
def test_plain_networks_are_those_within_the_limits_of_the_search(limit):
    winner = make_candidate(params=30_000)
    selection = Selection(SPACE, TASK, Budget(**limit), None)
    found = list(selection.plain(winner, ()))
    assert len(found) == 4
    (name,) = limit
    for each in found:
        assert each.role == "plain"
        assert getattr(each.network, name.removeprefix("max_")) <= limit[name]


def test_plain_networks_under_a_limit_on_time_are_the_widest_that_take_no_longer(selection, timer):
    winner = winner_of(SPACE.largest())
    seconds = winner.macs / 1e6
    found = list(selection(max_latency=2 * seconds).plain(winner, ("cnn", "ds-cnn")))
    assert [each.role for each in found] == [PLAIN, PLAIN]
    for each in found:
        family, _, width = each.network.id.rpartition("-")
        wider = make_baseline(f"{family}-{int(width) + 1}", TASK)
        assert each.latency == each.network.macs / 1e6 <= seconds
        assert cost_of(wider, TASK).macs / 1e6 > seconds
        assert each.network.params > winner.params  # which no limit was on
        widest = max(int(name.rpartition("-")[2]) for name in timer.asked if family in name)
        assert widest <= 2 * int(width)  # huge networks are not timed


def test_plain_networks_are_timed_once_and_only_within_the_other_limits(selection, timer):
    winner = winner_of(SPACE.largest(), params=20_000)
    limits = {"max_params": 20_000, "max_latency": 1000}
    (found,) = selection(**limits).plain(winner, ("cnn",))
    assert found.network.params <= 20_000
    counts = {name: timer.asked.count(name) for name in timer.asked}
    assert set(counts.values()) == {1}
    assert all(cost_of(make_baseline(name, TASK), TASK).params <= 20_000 for name in counts)
    timer.asked.clear()
    assert [*selection(**limits).plain(winner, ("cnn",))] == [found]
    assert not timer.asked  # a comparison that goes on compares with the same network


def test_a_plain_network_is_not_ruled_out_by_one_slow_measurement(selection, timer):
    winner = winner_of(SPACE.largest())
    (quiet,) = selection(max_latency=5000).plain(winner, ("cnn",))
    timer.asked.clear()
    timer.slow = {quiet.network.id}
    selection.log.unlink()
    (found,) = selection(max_latency=5000).plain(winner, ("cnn",))
    assert found == quiet
    assert timer.asked.count(quiet.network.id) == 2


def test_a_named_network_that_takes_longer_than_the_limit_is_over_it(selection):
    winner = winner_of(SPACE.smallest())
    cost = cost_of(make_baseline("cnn-8", TASK), TASK)
    assert cost.macs > winner.macs
    for limit, role in ((cost.macs / 1e6, PLAIN), (0.9 * cost.macs / 1e6, OVER)):
        found = selection(max_latency=limit).named("cnn-8", winner)
        assert (found.role, found.latency) == (role, cost.macs / 1e6)


def test_a_winner_that_other_work_slows_down_does_not_rule_out_equals(selection):
    winner = winner_of(SPACE.largest())
    seconds = winner.macs / 1e6
    (plain,) = selection(max_latency=seconds / 2).plain(winner, ("cnn",))
    found = selection(max_latency=seconds / 2).named(plain.network.id, winner)
    assert (found.role, found.latency) == (PLAIN, plain.latency)


def test_candidates_are_timed_anew_beside_the_plain_networks(selection):
    settings = smash.CompareSettings(median=False, random=0)
    winner = winner_of(SPACE.largest())
    (found,) = selection(max_latency=5000).candidates([winner], [winner], settings)
    assert found.latency == winner.macs / 1e6 != winner.latency
    untimed = Selection(SPACE, TASK, Budget(max_latency=5000), None)
    (known,) = untimed.candidates([winner], [winner], settings)
    assert known.latency == winner.latency
