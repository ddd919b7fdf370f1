from __future__ import annotations

import pytest

from smash.errors import InvalidValueError
from smash.profiling.budget import Budget
from smash.profiling.cost import measure_cost, survey
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

    median = survey(SPACE, TASK, 20)[10][0].params
    budget = Budget(max_macs=10**7, max_latency=median * 1e-6)
    proposer = Proposer(SPACE, TASK, budget, 0, stopwatch)
    strategy = RandomSampling(SPACE)
    proposals = [proposer.propose(strategy, [], index, set()) for index in range(4)]
    for proposal in proposals:
        assert proposal is not None
        assert proposal.cost.params <= median
        assert proposal.latency == proposal.cost.params * 1e-6
    assert len(timed) > len(proposals)  # some were refused


def test_propose_without_latency_limit_times_nothing():
    proposer = Proposer(SPACE, TASK, Budget(), 0, lambda _: pytest.fail("no limit"))
    proposal = proposer.propose(RandomSampling(SPACE), [], 0, set())
    assert proposal is not None
    assert proposal.latency is None


def test_propose_within_impossible_latency_tells_the_fastest(monkeypatch):
    monkeypatch.setattr("smash.searching.proposals._DRAWS", 5)
    proposer = Proposer(SPACE, TASK, Budget(max_latency=1e-9), 0, lambda _: 0.5)
    with pytest.raises(InvalidValueError, match="the fastest takes 500 ms"):
        proposer.propose(RandomSampling(SPACE), [], 0, set())
