from __future__ import annotations

import pytest

from smash.errors import InvalidValueError
from smash.profiling.budget import Budget, parse_latency
from smash.profiling.cost import Cost, measure_cost
from smash.spaces import MemoryBankSpace, Task
from tests.spaces.cases import OPTIONS

SPACE = MemoryBankSpace(OPTIONS["tiny"])
TASK = Task(channels=1, size=(8, 8), classes=10)


def test_budget_limits_are_inclusive():
    cost = Cost(params=10, macs=100)
    assert Budget(max_params=10, max_macs=100).allows(cost)
    assert not Budget(max_params=9).allows(cost)
    assert not Budget(max_macs=99).allows(cost)
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


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5ms", 0.005), ("0.005s", 0.005), (" 800 us ", 8e-4), ("1e-3s", 1e-3), ("1.5 ms", 0.0015)],
)
def test_parse_latency_with_unit_gives_seconds(text, seconds):
    assert parse_latency(text) == pytest.approx(seconds)
    assert Budget(max_latency=text).max_latency == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "", "ms", "-5ms", "0ms", "1.2.3ms", "5 min", "nan s"])
def test_parse_latency_of_other_text_is_refused(text):
    for read in (parse_latency, lambda text: Budget(max_latency=text)):
        with pytest.raises(InvalidValueError, match=r"with its unit, such as 5ms.*got"):
            read(text)


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
