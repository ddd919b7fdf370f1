from __future__ import annotations

import math

import pytest

from smash.errors import InvalidValueError
from smash.profiling.budget import Budget
from smash.profiling.cost import Cost, measure_cost
from smash.spaces import MemoryBankSpace, Task
from tests.spaces.cases import OPTIONS

SPACE = MemoryBankSpace(OPTIONS["tiny"])
TASK = Task(channels=1, size=(8, 8), classes=10)


def test_budget_limits_are_inclusive():
    cost = Cost(params=10, macs=100, memory=64, flash=900)
    assert Budget(max_params=10, max_macs=100).allows(cost)
    assert not Budget(max_params=9).allows(cost)
    assert not Budget(max_macs=99).allows(cost)
    assert Budget(max_memory=64, max_flash=900).allows(cost)
    assert not Budget(max_memory=63).allows(cost)
    assert not Budget(max_flash=899).allows(cost)
    assert Budget(max_latency=0.5).allows_latency(0.5)
    assert not Budget(max_latency=0.5).allows_latency(0.501)
    assert Budget().allows(cost)
    assert Budget().allows_latency(1e9)


def test_budget_with_wrong_limits_reports_all_faults():
    with pytest.raises(InvalidValueError) as error:
        Budget(max_params=0, max_macs=-1, max_latency=0.0)
    assert [fault.split()[0] for fault in error.value.faults] == [
        "max_params", "max_macs", "max_latency"
    ]  # fmt: skip


def test_budget_reads_units_and_refuses_others_by_the_name_of_the_limit():
    budget = Budget(max_memory="64KiB", max_flash="100 kB", max_latency="5ms")
    assert (budget.max_memory, budget.max_flash, budget.max_latency) == (65_536, 100_000, 0.005)
    with pytest.raises(InvalidValueError) as error:
        Budget(max_memory="64 parsecs", max_flash="0", max_latency="5")
    assert [fault.split(" must be")[0] for fault in error.value.faults] == [
        "max_memory", "max_flash", "max_latency"
    ]  # fmt: skip


def test_check_feasible_below_smallest_architecture_is_refused():
    smallest = measure_cost(SPACE, SPACE.smallest(), TASK)
    with pytest.raises(InvalidValueError) as error:
        Budget(max_params=smallest.params - 1, max_macs=1).check_feasible(SPACE, TASK)
    assert len(error.value.faults) == 2
    assert f"needs {smallest.params:,}; raise the limit" in error.value.faults[0]
    Budget(max_params=smallest.params, max_macs=smallest.macs).check_feasible(SPACE, TASK)


def test_check_feasible_of_latency_measures_smallest_architecture():
    def latency(architecture, within):
        assert architecture == SPACE.smallest()
        return 0.004

    Budget(max_latency=0.004).check_feasible(SPACE, TASK, latency)
    Budget().check_feasible(SPACE, TASK, lambda *_: pytest.fail("there is no limit to check"))
    with pytest.raises(InvalidValueError, match=r"3 ms cannot be met: .* takes 4 ms"):
        Budget(max_latency=0.003).check_feasible(SPACE, TASK, latency)


def test_a_network_that_does_not_fit_as_measured_is_not_blamed_on_time_alone():
    for limits, said in (({"max_flash": "1MB"}, True), ({}, False)):
        budget = Budget(max_latency="5ms", **limits)
        with pytest.raises(InvalidValueError, match="does not run") as caught:
            budget.check_feasible(SPACE, TASK, lambda *_: math.inf)
        assert ("needs more RAM or flash than the limits" in str(caught.value)) is said
