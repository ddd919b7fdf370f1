"""Numbers as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smash.profiling.latency import CHILD, GRAPH, read_latencies
from smash.study.study import Candidate

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(value: float) -> str:
    """A share 0…1: ``3.27%``."""
    return f"{100 * value:.2f}%" if math.isfinite(value) else "–"


def short_percent(value: float) -> str:
    """A share on an axis: ``5%``, ``2.5%``."""
    return f"{100 * value:.4g}%"


def decimal(value: float) -> str:
    """A loss or a coefficient, to three figures that matter."""
    return f"{value:.4g}" if math.isfinite(value) else "–"


def count(value: float) -> str:
    """A whole number with separators: ``46,474``."""
    return f"{value:,.0f}"


def short_count(value: float) -> str:
    """A large number on an axis or a tile: ``46.5k``, ``1.2M``."""
    for size, prefix in _PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.3g}{prefix}"
    return f"{value:.4g}"


def seconds(value: float) -> str:
    """A time in seconds: ``3.2 ms``, ``41 s``, ``12 min``."""
    if value < 1e-3:
        return f"{value * 1e6:.3g} µs"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s" if value < 120 else f"{value / 60:.3g} min"


def plain(value: Any) -> str:
    """A setting: numbers short, lists joined, nothing as a dash."""
    if value is None or value == "" or value == {} or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(each) for each in value)
    return str(value)


def several(number: int, one: str, many: str | None = None) -> str:
    """A number of things: ``1 op``, ``3 ops``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def times_in_words(run: Path, ranked: Sequence[Candidate]) -> list[tuple[str, ...]]:
    """What a run keeps of the times of its best candidates, for a table.

    Args:
        run: Folder of the run.
        ranked: The candidates, best first.

    Returns:
        Of each that was timed: rank, id; the child's milliseconds, device and threads; those of the
        exported graph and threads, which ONNX Runtime runs on the CPU. What is not known is empty.
    """
    children, graphs = read_latencies(run, CHILD), read_latencies(run, GRAPH)
    rows: list[tuple[str, ...]] = []
    for rank, one in enumerate(ranked):
        child, graph = children.get(one.id), graphs.get(one.id)
        if child is None and graph is None and one.latency is None:
            continue
        searched = "" if one.latency is None else f"{1000 * one.latency:.2f}"
        of_child = (child.milliseconds, child.device, str(child.threads)) if child else None
        of_graph = (graph.milliseconds, str(graph.threads)) if graph else ("", "")
        rows.append((str(rank), one.id, *(of_child or (searched, "", "")), *of_graph))
    return rows
