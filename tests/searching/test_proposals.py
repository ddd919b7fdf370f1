from __future__ import annotations

from typing import Any

import pytest

from smash.errors import InvalidValueError
from smash.profiling.budget import Budget
from smash.profiling.cost import Cost, measure_cost, survey
from smash.profiling.names import COUNTED
from smash.searching.proposals import Proposer
from smash.searching.strategies import RandomSampling
from smash.spaces import MemoryBankSpace, Task
from tests.spaces.cases import OPTIONS

TASK = Task(channels=1, size=(8, 8), classes=3)
SPACE = MemoryBankSpace(OPTIONS["tiny"])


def test_proposals_are_within_the_latency_limit():
    timed = []

    def stopwatch(architecture):
        timed.append(architecture)
        return measure_cost(SPACE, architecture, TASK).params * 1e-6

    median = survey(SPACE, TASK, 20)[10][0]
    budget = Budget(max_macs=10**7, max_latency=median * 1e-6)
    proposer = Proposer(SPACE, TASK, budget, 0, stopwatch)
    strategy = RandomSampling(SPACE)
    proposals = [proposer.propose(strategy, [], index, set()) for index in range(4)]
    for proposal in proposals:
        assert proposal is not None
        assert proposal.params <= median
        assert proposal.latency == proposal.params * 1e-6
    assert len(timed) > len(proposals)  # some were refused


def test_time_ahead_measures_what_each_proposal_times_first():
    timed, ahead = [], []
    budget = Budget(max_params=survey(SPACE, TASK, 20)[10][0], max_latency=1)
    proposer = Proposer(
        SPACE, TASK, budget, 0, lambda each: timed.append(each) or 0.5, ahead.extend
    )
    proposer.time_ahead(RandomSampling(SPACE), [], range(4), set())
    for index in range(4):
        proposer.propose(RandomSampling(SPACE), [], index, set())
    assert ahead == timed


@pytest.mark.parametrize("cost", ["memory", "flash"])
def test_proposals_come_close_to_a_limit_and_stay_within(cost):
    sample = [architecture for _, architecture in survey(SPACE, TASK, 20)]
    costs = [getattr(measure_cost(SPACE, each, TASK), cost) for each in sample]
    limit = sorted(costs)[10]
    proposer = Proposer(SPACE, TASK, Budget(**{f"max_{cost}": limit}), 0)
    strategy = RandomSampling(SPACE)
    found = [getattr(proposer.propose(strategy, [], index, set()), cost) for index in range(12)]
    assert 0.9 * limit <= max(found) <= limit


def test_propose_without_a_stopwatch_measures_the_cost_alone():
    proposal = Proposer(SPACE, TASK, Budget(), 0).propose(RandomSampling(SPACE), [], 3, set())
    assert proposal is not None
    cost = measure_cost(SPACE, proposal.architecture, TASK)
    assert Cost(**{name: getattr(proposal, name) for name in COUNTED}) == cost
    assert proposal.latency is None
    assert (proposal.id, proposal.index) == (SPACE.identify(proposal.architecture), 3)
    assert proposal.state == "proposed"


def test_propose_does_not_repeat_what_was_seen():
    proposer = Proposer(SPACE, TASK, Budget(), 0)
    first = proposer.propose(RandomSampling(SPACE), [], 0, set())
    assert first is not None
    second = proposer.propose(RandomSampling(SPACE), [], 0, {first.id})
    assert second is not None
    assert second.id != first.id


def test_propose_goes_further_where_all_mutations_were_seen():
    first = Proposer(SPACE, TASK, Budget(), 0).propose(RandomSampling(SPACE), [], 0, set())
    assert first is not None

    class Same(RandomSampling[Any]):
        name = "same"

        def propose(self, history, rng, n):
            return [first.architecture] * n

    found = Proposer(SPACE, TASK, Budget(), 0).propose(Same(SPACE), [], 0, {first.id})
    assert found is not None
    assert found.id != first.id


def test_propose_from_an_exhausted_space_returns_none(monkeypatch):
    monkeypatch.setattr("smash.searching.proposals._DRAWS", 5)

    class Everything(set[str]):
        def __contains__(self, identity):
            return True

    assert (
        Proposer(SPACE, TASK, Budget(), 0).propose(RandomSampling(SPACE), [], 0, Everything())
        is None
    )


def test_propose_within_impossible_latency_tells_the_fastest(monkeypatch):
    monkeypatch.setattr("smash.searching.proposals._DRAWS", 5)
    proposer = Proposer(SPACE, TASK, Budget(max_latency=1e-9), 0, lambda _: 0.5)
    with pytest.raises(InvalidValueError, match="the fastest takes 500 ms"):
        proposer.propose(RandomSampling(SPACE), [], 0, set())


def test_propose_within_a_limit_returns_none_once_all_within_it_were_seen(monkeypatch):
    monkeypatch.setattr("smash.searching.proposals._DRAWS", 50)
    smallest = SPACE.smallest()
    limit = measure_cost(SPACE, smallest, TASK).params
    proposer = Proposer(SPACE, TASK, Budget(max_params=limit), 0)
    seen = {SPACE.identify(smallest)}
    assert proposer.propose(RandomSampling(SPACE), [], 0, seen) is None
