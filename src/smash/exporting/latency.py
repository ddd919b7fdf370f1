"""Latency of candidates as exported ONNX graphs, beside that of the child in the search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from smash.exporting.onnx import OnnxNetwork, write_onnx
from smash.exporting.parity import example_images
from smash.exporting.signature import Signature
from smash.io.measurements import MeasurementLog
from smash.profiling.latency import GRAPH, Latency, kind_of_time, time_call
from smash.run.child import describe_input
from smash.run.layout import LATENCIES
from smash.run.run import Run
from smash.runtime.progress import Progress, silent
from smash.runtime.rng import torch_generator
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
    found = MeasurementLog(run.path / LATENCIES).measure(
        kind_of_time(GRAPH, torch.device("cpu")),
        pairs,
        lambda architecture: _measure(run, architecture, threads),
        progress,
    )
    return [Latency(row["seconds"], row["spread"], 1, threads, "onnxruntime") for row in found]


def _measure(run: Run, architecture: Any, threads: int) -> dict[str, float]:
    data, space = run.data, run.space
    inputs = describe_input(data)
    signature = Signature(
        classes=data.classes,
        channels=inputs.channels,
        size=tuple(inputs.size),
        scaled=inputs.scaled,
        mean=data.mean,
        std=data.std,
    )
    child = space.build(architecture, data.task, "cpu")
    initialise(child, torch_generator(0, "latency"))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(child.eval(), signature, {}, path)
        network = OnnxNetwork(path, threads)
    image = example_images(signature, 1)
    seconds, spread = time_call(lambda: network(image))
    return {"seconds": seconds, "spread": spread}
