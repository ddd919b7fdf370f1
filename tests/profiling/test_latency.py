from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import smash
from smash.errors import InvalidValueError, RunStateError
from smash.io.measurements import MeasurementLog
from smash.profiling.budget import Budget
from smash.profiling.latency import ChildTimer, Stopwatch, measure_latency, time_network
from smash.profiling.stored_times import CHILD, GRAPH, Latency, read_latencies
from smash.reporting.latencies import latency_rows
from smash.spaces import MemoryBankSpace, Task
from smash.study.study import Study
from tests.spaces.cases import OPTIONS

TASK = Task(channels=1, size=(8, 8), classes=3)
CPU = torch.device("cpu")


class SlowNetwork(nn.Module):
    """Advances a clock of its own with each call, further with the first ones."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.now = 0, 0.0
        self.shapes: set[tuple[int, ...]] = set()

    def forward(self, images):
        self.shapes.add(tuple(images.shape))
        self.calls += 1
        self.now += 0.05 if self.calls <= 3 else 0.002
        return images


def test_time_network_gives_median_without_warm_up(monkeypatch):
    network = SlowNetwork()
    monkeypatch.setattr("smash.profiling.latency.time.perf_counter", lambda: network.now)
    found = time_network(network, TASK, CPU, batch=2, runs=9)
    assert network.shapes == {(2, 1, 8, 8)}
    assert network.calls > 9
    assert found.seconds == pytest.approx(0.002)
    assert (found.batch, found.device, found.threads) == (2, "cpu", torch.get_num_threads())
    assert found.spread == pytest.approx(0, abs=1e-9)


def test_measure_latency_times_the_child_of_the_architecture(monkeypatch):
    """The clock advances with each convolution, so that the load of the machine does not count."""
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


def test_stopwatch_reopened_gives_kept_times(tmp_path):
    space = MemoryBankSpace(OPTIONS["tiny"])
    first = Stopwatch(
        space, ChildTimer(space, TASK, CPU), MeasurementLog(tmp_path / "latency.jsonl")
    )
    seconds = first(space.smallest())
    assert seconds > 0
    again = Stopwatch(
        space, ChildTimer(space, TASK, CPU), MeasurementLog(tmp_path / "latency.jsonl")
    )
    assert again(space.smallest()) == seconds == first(space.smallest())
    assert len((tmp_path / "latency.jsonl").read_text().splitlines()) == 1


def set_times(monkeypatch, *seconds: float) -> None:
    """Makes the next measurements give these times."""
    times = iter(seconds)
    monkeypatch.setattr(
        "smash.profiling.latency.measure_latency", lambda *_: Latency(next(times), 0.0, 1, 1, "cpu")
    )


def test_stopwatch_on_another_machine_measures_again(tmp_path, monkeypatch):
    space, path = MemoryBankSpace(OPTIONS["tiny"]), tmp_path / "latency.jsonl"
    smallest = space.smallest()
    set_times(monkeypatch, 0.001, 0.004)
    monkeypatch.setattr("smash.profiling.latency.machine_name", lambda device: "A fast  CPU=1")
    assert Stopwatch(space, ChildTimer(space, TASK, CPU), MeasurementLog(path))(smallest) == 0.001
    assert Stopwatch(space, ChildTimer(space, TASK, CPU), MeasurementLog(path))(smallest) == 0.001
    monkeypatch.setattr("smash.profiling.latency.machine_name", lambda device: "Another")
    assert Stopwatch(space, ChildTimer(space, TASK, CPU), MeasurementLog(path))(smallest) == 0.004
    (found,) = read_latencies(tmp_path, CHILD).values()
    assert (found.seconds, found.device) == (0.004, "cpu")


def test_time_above_the_limit_is_not_kept(tmp_path, monkeypatch):
    """It may come from a load that is gone when the search is repeated."""
    space, path = MemoryBankSpace(OPTIONS["tiny"]), tmp_path / "latency.jsonl"
    set_times(monkeypatch, 0.009, 0.004)
    budget = Budget(max_latency=0.005)

    def check() -> None:
        budget.check_feasible(
            space, TASK, Stopwatch(space, ChildTimer(space, TASK, CPU), MeasurementLog(path))
        )

    with pytest.raises(InvalidValueError, match=r"takes 9 ms .* search while nothing else runs"):
        check()
    check()
    check()  # The shorter time is kept: a third measurement would raise StopIteration.


def test_read_latencies_gives_latest_of_each_kind(tmp_path):
    measurements = MeasurementLog(tmp_path / "latency.jsonl")
    measurements.add("latency device=cpu threads=2", "a", {"seconds": 0.004, "spread": 0.001})
    measurements.add("latency device=cuda threads=2", "a", {"seconds": 0.002, "spread": 0.0002})
    measurements.add("graphs threads=2", "b", {"seconds": 0.003, "spread": 0.0004})
    measurements.flush()
    assert read_latencies(tmp_path, CHILD) == {"a": Latency(0.002, 0.0002, 1, 2, "cuda")}
    assert read_latencies(tmp_path, GRAPH) == {"b": Latency(0.003, 0.0004, 1, 2, "onnxruntime")}


def test_read_latencies_of_damaged_file_is_refused(tmp_path):
    measurements = MeasurementLog(tmp_path / "latency.jsonl")
    measurements.add("latency device=cpu", "a", {"seconds": 0.004, "spread": 0.001})
    measurements.flush()
    with pytest.raises(RunStateError, match=r"latency\.jsonl is damaged.*delete the file"):
        read_latencies(tmp_path, CHILD)


def test_search_with_latency_limit_keeps_times_of_its_candidates(run, command):
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
    for row in rows:
        child, graph = row["child_time"], row["graph_time"]
        assert child["seconds"] == row["latency"]
        assert (child["device"], graph["device"]) == ("cpu", "onnxruntime")
        assert all(time["seconds"] > 0 and time["spread"] >= 0 for time in (child, graph))
        assert (child["batch"], child["threads"]) == (1, torch.get_num_threads())
    times = latency_rows(run.path, Study(run.study_path).ranked())
    assert [row[1] for row in times] == [rows[0]["id"]]
    page = smash.report(run).read_text()
    for words in (command("show", path).out, found.out, page):
        assert all(cell in words for cell in times[0])
    kept = (run.path / "latency.jsonl").read_text()
    again = command("search", path, *counts, "--max-latency", "10s")
    assert again.code == 0
    assert (run.path / "latency.jsonl").read_text() == kept  # nothing was measured again
    assert command("search", path, *counts).code == 2  # another limit is another search
