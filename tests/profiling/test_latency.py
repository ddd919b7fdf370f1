from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import smash
from smash.cli.describe import describe_sizes, sizes_of
from smash.errors import InvalidValueError, RunStateError
from smash.io.measurements import Ledger
from smash.profiling.cost import Budget, measure, survey
from smash.profiling.latency import (
    CHILD,
    GRAPH,
    Latency,
    Stopwatch,
    check_feasible,
    measure_latency,
    parse_latency,
    read_latencies,
    time_network,
)
from smash.reporting.formatting import times_in_words
from smash.searching.proposals import Proposer
from smash.searching.strategies import RandomSampling
from smash.spaces import MemoryBankSpace, Task
from smash.study.study import Study
from tests.reporting.made import candidates
from tests.spaces.cases import OPTIONS

TASK = Task(channels=1, size=(8, 8), classes=3)
CPU = torch.device("cpu")


class _Slow(nn.Module):
    """Takes as long as it is told, by a clock of its own; the first calls take longer."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.now = 0, 0.0
        self.shapes: set[tuple[int, ...]] = set()

    def forward(self, images):
        self.shapes.add(tuple(images.shape))
        self.calls += 1
        self.now += 0.05 if self.calls <= 3 else 0.002
        return images


def test_the_median_is_told_and_the_first_runs_are_not_counted(monkeypatch):
    network = _Slow()
    monkeypatch.setattr("smash.profiling.latency.time.perf_counter", lambda: network.now)
    found = time_network(network, TASK, CPU, batch=2, runs=9)
    assert network.shapes == {(2, 1, 8, 8)}
    assert network.calls > 9
    assert found.seconds == pytest.approx(0.002)
    assert (found.batch, found.device, found.threads) == (2, "cpu", torch.get_num_threads())
    assert found.spread == pytest.approx(0, abs=1e-9)


def test_a_child_is_timed(monkeypatch):
    """By a clock that goes on with each convolution: the machine's says what it likes."""
    done = 0

    def convolved(module, given, result):
        nonlocal done
        done += isinstance(module, nn.Conv2d)

    monkeypatch.setattr("smash.profiling.latency.time.perf_counter", lambda: 1e-3 * done)
    space = MemoryBankSpace(OPTIONS["tiny"])
    with nn.modules.module.register_module_forward_hook(convolved):
        for architecture in (space.smallest(), space.largest()):
            child = space.build(architecture, TASK)
            convolutions = sum(isinstance(module, nn.Conv2d) for module in child.modules())
            found = measure_latency(space, architecture, TASK, CPU)
            assert found.seconds == pytest.approx(1e-3 * convolutions)
            assert found.batch == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5ms", 0.005), ("0.005s", 0.005), (" 800 us ", 8e-4), ("1e-3s", 1e-3), ("1.5 ms", 0.0015)],
)
def test_times_are_read_with_their_unit(text, seconds):
    assert parse_latency(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "", "ms", "-5ms", "0ms", "1.2.3ms", "5 min", "nan s"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InvalidValueError, match="such as 5ms"):
        parse_latency(text)


def test_what_was_timed_is_kept(tmp_path):
    space = MemoryBankSpace(OPTIONS["tiny"])
    first = Stopwatch(space, TASK, CPU, Ledger(tmp_path / "latency.jsonl"))
    seconds = first(space.smallest())
    assert seconds > 0
    again = Stopwatch(space, TASK, CPU, Ledger(tmp_path / "latency.jsonl"))
    assert again(space.smallest()) == seconds == first(space.smallest())
    assert len((tmp_path / "latency.jsonl").read_text().splitlines()) == 1


def test_times_of_another_machine_are_not_this_ones(tmp_path, monkeypatch):
    space, path = MemoryBankSpace(OPTIONS["tiny"]), tmp_path / "latency.jsonl"
    smallest = space.smallest()
    times = iter([0.001, 0.004])
    monkeypatch.setattr(
        "smash.profiling.latency.measure_latency", lambda *_: Latency(next(times), 0.0, 1, 1, "cpu")
    )
    monkeypatch.setattr("smash.profiling.latency.machine_name", lambda device: "A fast  CPU=1")
    assert Stopwatch(space, TASK, CPU, Ledger(path))(smallest) == 0.001
    assert Stopwatch(space, TASK, CPU, Ledger(path))(smallest) == 0.001
    monkeypatch.setattr("smash.profiling.latency.machine_name", lambda device: "Another")
    assert Stopwatch(space, TASK, CPU, Ledger(path))(smallest) == 0.004
    (found,) = read_latencies(tmp_path, CHILD).values()
    assert (found.seconds, found.device) == (0.004, "cpu")


def test_a_load_that_has_gone_refuses_nothing(tmp_path, monkeypatch):
    space, path = MemoryBankSpace(OPTIONS["tiny"]), tmp_path / "latency.jsonl"
    times = iter([0.009, 0.004])
    monkeypatch.setattr(
        "smash.profiling.latency.measure_latency", lambda *_: Latency(next(times), 0.0, 1, 1, "cpu")
    )
    budget = Budget(max_latency=0.005)
    with pytest.raises(InvalidValueError, match=r"takes 9 ms .* search while nothing else runs"):
        check_feasible(budget, space, Stopwatch(space, TASK, CPU, Ledger(path)))
    check_feasible(budget, space, Stopwatch(space, TASK, CPU, Ledger(path)))
    # It is kept now, so that a search that is taken up again is not refused.
    check_feasible(budget, space, Stopwatch(space, TASK, CPU, Ledger(path)))


def test_times_are_read_again_by_what_was_timed(tmp_path):
    ledger = Ledger(tmp_path / "latency.jsonl")
    ledger.add("latency device=cpu threads=2", "a", {"seconds": 0.004, "spread": 0.001})
    ledger.add("latency device=cuda threads=2", "a", {"seconds": 0.002, "spread": 0.0002})
    ledger.add("graphs threads=2", "b", {"seconds": 0.003, "spread": 0.0004})
    ledger.flush()
    assert read_latencies(tmp_path, CHILD) == {"a": Latency(0.002, 0.0002, 1, 2, "cuda")}
    assert read_latencies(tmp_path, GRAPH) == {"b": Latency(0.003, 0.0004, 1, 2, "onnxruntime")}
    one = candidates(1)[0][0]
    ranked = [replace(one, id="a"), replace(one, id="b", latency=0.005), replace(one, id="c")]
    assert times_in_words(tmp_path, ranked) == [
        ("0", "a", "2.00 ± 0.10", "cuda", "2", "", ""),
        ("1", "b", "5.00", "", "", "3.00 ± 0.20", "2"),
    ]
    ledger.add("latency device=cpu", "a", {"seconds": 0.004, "spread": 0.001})
    ledger.flush()
    with pytest.raises(RunStateError, match=r"latency\.jsonl is damaged.*delete the file"):
        read_latencies(tmp_path, CHILD)


def test_sizes_go_up_and_are_told_in_words():
    space = MemoryBankSpace(OPTIONS["one-bottleneck"])
    sizes = sizes_of(space, TASK, CPU)
    assert [one.name for one in sizes] == ["smallest", "median", "largest"]
    params = [one.cost.params for one in sizes]
    assert params == sorted(params)
    assert params[0] < params[2]
    lines = describe_sizes(sizes)
    assert f"{sizes[1].cost.params:,} parameters, {sizes[1].cost.macs:,} MACs" in lines[1]
    assert f"{1000 * sizes[2].latency.seconds:.2f} ± " in lines[2]
    assert f"threads: {torch.get_num_threads()}" in lines[3]


def test_a_limit_that_cannot_be_met_is_refused():
    space = MemoryBankSpace(OPTIONS["tiny"])

    def stopwatch(architecture, within):
        assert architecture == space.smallest()
        return 0.004

    check_feasible(Budget(max_latency=0.004), space, stopwatch)
    check_feasible(Budget(), space, stopwatch)
    with pytest.raises(InvalidValueError, match=r"3 ms cannot be met: .* takes 4 ms"):
        check_feasible(Budget(max_latency=0.003), space, stopwatch)
    with pytest.raises(InvalidValueError, match="more than 0"):
        Budget(max_latency=0.0)


def test_proposals_are_within_the_time(monkeypatch):
    space = MemoryBankSpace(OPTIONS["tiny"])
    asked = []

    def stopwatch(architecture):
        """Larger ones take longer, so that what is allowed is known without a clock."""
        asked.append(architecture)
        return measure(space, architecture, TASK).params * 1e-6

    median = sorted(cost.params for cost in survey(space, TASK, 20))[10]
    budget = Budget(max_macs=10**7, max_latency=median * 1e-6)
    proposer = Proposer(space, TASK, budget, 0, stopwatch)
    strategy = RandomSampling(space)
    found = [proposer.propose(strategy, [], index, set()) for index in range(4)]
    assert all(one is not None for one in found)
    for one in found:
        assert one is not None
        assert one.cost.params <= median
        assert one.latency == one.cost.params * 1e-6
    assert len(asked) > len(found)  # some were refused
    monkeypatch.setattr("smash.searching.proposals._DRAWS", 5)
    tight = Proposer(space, TASK, Budget(max_latency=1e-9), 0, lambda one: 0.5)
    with pytest.raises(InvalidValueError, match="the fastest takes 500 ms"):
        tight.propose(strategy, [], 0, set())
    free = Proposer(space, TASK, Budget(), 0, stopwatch)
    proposal = free.propose(strategy, [], 0, set())
    assert proposal is not None
    assert proposal.latency is None


def test_a_search_keeps_the_times_of_its_candidates(run, command):
    """Refused at once where it cannot be met; else every candidate has a time within the limit."""
    path = str(run.path)
    counts = ["--random", "1", "--perturb", "0", "--markov", "0", "--device", "cpu"]
    refused = command("search", path, *counts, "--max-latency", "1us")
    assert refused.code == 2
    assert "cannot be met" in refused.err
    assert "median architecture" in refused.err
    assert not (run.path / "study.journal").exists()
    pytest.importorskip("onnxruntime")
    found = command("search", path, *counts, "--max-latency", "10s")
    assert found.code == 0
    assert "ONNX Runtime" in found.out
    rows = json.loads(command("show", path, "--json").out)
    assert len(rows) == 1
    assert all(0 < row["latency"] <= 10 for row in rows)
    for one in rows:
        child, graph = one["child_time"], one["graph_time"]
        assert child["seconds"] == one["latency"]
        assert (child["device"], graph["device"]) == ("cpu", "onnxruntime")
        assert all(time["seconds"] > 0 and time["spread"] >= 0 for time in (child, graph))
        assert (child["batch"], child["threads"]) == (1, torch.get_num_threads())
    times = times_in_words(run.path, Study(run.study_path).ranked())
    assert [row[1] for row in times] == [rows[0]["id"]]
    page = smash.report(run).read_text()
    for words in (command("show", path).out, found.out, page):
        assert all(cell in words for cell in times[0])
    kept = (run.path / "latency.jsonl").read_text()
    again = command("search", path, *counts, "--max-latency", "10s")
    assert again.code == 0
    assert (run.path / "latency.jsonl").read_text() == kept  # nothing was timed again
    assert command("search", path, *counts).code == 2  # another limit is another search
