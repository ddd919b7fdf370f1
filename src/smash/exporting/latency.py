"""Latency of candidates as exported files: in ONNX Runtime, or by a command of the user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from smash.exporting.export import Description, write_network
from smash.exporting.onnx import OnnxNetwork
from smash.exporting.parity import example_images
from smash.exporting.signature import Signature
from smash.io.locks import temporary_folder
from smash.io.measurements import MeasurementLog, Numbers
from smash.io.text import text_digest
from smash.profiling.command import measure_by_command
from smash.profiling.latency import NetworkTimer, kind_of_time, time_call
from smash.profiling.stored_times import CHILD, GRAPH, Latency
from smash.run.child import describe_input
from smash.run.layout import LATENCIES
from smash.run.run import Run
from smash.runtime.executor import Executor, Future
from smash.runtime.progress import Progress, silent
from smash.runtime.rng import torch_generator
from smash.spaces.baselines import make_baseline
from smash.spaces.parameters import initialise
from smash.study.candidate import Candidate


def time_graphs(
    run: Run, candidates: Sequence[Candidate], progress: Progress = silent
) -> list[Latency]:
    """Measures candidates in ONNX Runtime on the CPU, unless the run has their latency already.

    Latency does not depend on the weights, so initial ones are used.

    Args:
        run: The run.
        candidates: Candidates of its study, which was opened with the space.
        progress: Reports progress.

    Raises:
        MissingExtraError: The packages for ONNX are not installed.
    """
    threads = torch.get_num_threads()
    pairs = [(candidate.id, candidate.architecture) for candidate in candidates]

    def measure(architecture: Any) -> Numbers:
        with _exported(run, *_child(run, architecture), "onnx") as path:
            network = OnnxNetwork(path, threads)
        image = example_images(network.signature, 1)
        seconds, spread = time_call(lambda: network(image))
        return {"seconds": seconds, "spread": spread}

    found = MeasurementLog(run.path / LATENCIES).measure(
        kind_of_time(GRAPH, torch.device("cpu")), pairs, measure, progress
    )
    return [Latency(row["seconds"], row["spread"], 1, threads, "onnxruntime") for row in found]


class CommandTimer(NetworkTimer):
    """Times exported networks by a command of the user.

    Args:
        run: The run.
        command: The command; see `measure_by_command`.
        file_format: Ending of the exported file, such as ``onnx``.
        timeout: Seconds that a try may take.
        executor: Runs the command, one at a time on each device, if its machines have devices;
            otherwise the command runs here.
    """

    def __init__(
        self, run: Run, command: str, file_format: str, timeout: float, executor: Executor
    ) -> None:
        self._run, self._command, self._executor = run, command, executor
        self._format, self._timeout = file_format, timeout
        kind = {"command": text_digest(command), "format": file_format}
        self.is_parallel = executor.has_devices
        if executor.has_devices:
            kind["place"] = "executor"
        self.kind = kind_of_time(CHILD, torch.device("cpu"), device="command", **kind)

    def __call__(self, architecture: Any) -> Numbers:
        """Exports the child of an architecture with initial weights, and runs the command.

        Raises:
            CommandError: The command failed twice, or cannot be started.
        """
        return self._time(*_child(self._run, architecture))

    def time_baseline(self, name: str) -> Numbers:
        """Exports a reference network with initial weights, and runs the command.

        Raises:
            CommandError: The command failed twice, or cannot be started.
        """
        return self._time(make_baseline(name, self._run.data.task, "cpu"), {"baseline": name})

    def start(self, architecture: Any) -> Future[Numbers]:
        """Exports the child, and lets the command run as soon as a device is free."""
        if not self.is_parallel:
            return super().start(architecture)
        return self._start(*_child(self._run, architecture))

    def _time(self, network: nn.Module, description: Description) -> Numbers:
        if self.is_parallel:
            return self._start(network, description).result()
        with _exported(self._run, network, description, self._format) as path:
            return _measure(self._command, path, self._timeout)

    def _start(self, network: nn.Module, description: Description) -> Future[Numbers]:
        with _exported(self._run, network, description, self._format) as path:
            files = {each.name: each.read_bytes() for each in path.parent.glob("model.*")}
        return self._executor.submit_to_device(
            _measure_elsewhere, self._command, path.name, files, self._timeout
        )


def _measure_elsewhere(
    command: str, name: str, files: Mapping[str, bytes], timeout: float
) -> Numbers:
    """Runs a command on one of several files, which are written on this machine."""
    with TemporaryDirectory(prefix="smash-latency-") as folder:
        for each, content in files.items():
            Path(folder, each).write_bytes(content)
        return _measure(command, Path(folder, name), timeout)


def _measure(command: str, path: Path, timeout: float) -> Numbers:
    return {"spread": 0.0, **measure_by_command(command, path, timeout)}


def _child(run: Run, architecture: Any) -> tuple[nn.Module, Description]:
    """Builds the child of an architecture on the CPU, and describes it for its file."""
    child = run.space.build(architecture, run.data.task, "cpu")
    return child, {
        "architecture": run.space.to_json(architecture),
        "space": run.settings.space.model_dump(exclude_none=True),
    }


@contextmanager
def _exported(
    run: Run, network: nn.Module, description: Description, file_format: str
) -> Iterator[Path]:
    """Gives a network without weights as a file, with initial ones."""
    data = run.data
    inputs = describe_input(data)
    signature = Signature(
        classes=data.classes,
        channels=inputs.channels,
        size=tuple(inputs.size),
        scaled=inputs.scaled,
        mean=data.mean,
        std=data.std,
    )
    initialise(network, torch_generator(0, "latency"))
    with temporary_folder(run.path, "latency") as folder:
        path = folder / f"model.{file_format}"
        write_network(network.eval(), signature, description, path)
        yield path
