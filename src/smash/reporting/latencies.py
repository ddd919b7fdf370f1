"""Latencies of the best candidates as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smash.profiling.stored_times import CHILD, GRAPH, read_latencies
from smash.study.candidate import Candidate


def latency_rows(run: Path, ranked: Sequence[Candidate]) -> list[tuple[str, ...]]:
    """Gathers the latencies that a run keeps of its best candidates, as rows of a table.

    Args:
        run: Folder of the run.
        ranked: The candidates, best first.

    Returns:
        For each timed candidate: rank and id; milliseconds, device and threads of the child;
        milliseconds and threads of the exported graph, which ONNX Runtime runs on the CPU. Unknown
        cells are empty.
    """
    children, graphs = read_latencies(run, CHILD), read_latencies(run, GRAPH)
    rows: list[tuple[str, ...]] = []
    for rank, candidate in enumerate(ranked):
        child, graph = children.get(candidate.id), graphs.get(candidate.id)
        if child is None and graph is None and candidate.latency is None:
            continue
        searched = "" if candidate.latency is None else f"{1000 * candidate.latency:.2f}"
        of_child = (child.milliseconds, child.device, str(child.threads)) if child else None
        of_graph = (graph.milliseconds, str(graph.threads)) if graph else ("", "")
        rows.append((str(rank), candidate.id, *(of_child or (searched, "", "")), *of_graph))
    return rows
