"""Compares the RAM that is counted for children with what ExecuTorch plans for them.

    python -m benchmarks.arena

ExecuTorch gives each tensor of the graph a place in one arena when it writes a program, from the
lifetimes of the tensors, and writes the size of the arena into the program. Its portable kernels
write no result over an operand, so the count is made without that as well. An arena may have gaps:
the most bytes that are alive at once by the lifetimes of ExecuTorch are given beside its size. All
is in float32, four times the bytes of int8.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves

from benchmarks.devices import residual_chain
from smash.config import SpaceSettings
from smash.exporting.packages import import_package, without_warnings
from smash.profiling.footprint import peak_memory
from smash.profiling.operations import record_operations
from smash.runtime.rng import generator
from smash.spaces import SearchSpace, make_space
from smash.spaces.choices import FunctionSpace
from smash.spaces.task import Task

RESULT = Path(__file__).parent / "results" / "arena.json"

_FLOAT32 = 4  # bytes
_SIZES = {"signals": (128,), "images": (16, 16)}


def compare_memory(child: nn.Module, task: Task) -> dict[str, int]:
    """Gives the bytes in float32 that are counted and planned for a network on the CPU.

    Args:
        child: Maps N×channels×spatial to logits.
        task: Gives the shape of the input.
    """
    example = torch.zeros(1, task.channels, *task.size)
    with without_warnings():
        exir = import_package("executorch.exir")
        program = exir.to_edge_transform_and_lower(torch.export.export(child.eval(), (example,)))
        program = program.to_executorch()
        (plan,) = program.executorch_program.execution_plan
    trace = record_operations(child.to("meta"), task)
    apart = replace(
        trace, operations=[replace(each, is_elementwise=False) for each in trace.operations]
    )
    return {
        "counted": _FLOAT32 * peak_memory(trace),
        "counted_without_overwriting": _FLOAT32 * peak_memory(apart),
        "alive": most_alive(program.exported_program().graph_module),
        "planned": sum(plan.non_const_buffer_sizes),
    }


def most_alive(graph: fx.GraphModule) -> int:
    """Gives the most bytes that are alive at once by the lifetimes that ExecuTorch has planned."""
    specs = {
        id(spec): spec
        for node in graph.graph.nodes
        for spec in tree_leaves(node.meta.get("spec"))
        if spec is not None and spec.mem_offset is not None
    }
    spans = [(spec.lifetime, spec.allocated_memory) for spec in specs.values()]
    most: int = max(
        sum(size for (first, last), size in spans if first <= step <= last)
        for (step, _), _ in spans
    )
    return most


def spaces(task: Task) -> dict[str, SearchSpace[Any]]:
    """Makes the spaces whose children are compared, by name."""
    settings = {
        "memory banks": SpaceSettings(name="memory-bank", preset="tiny", options={}),
        "cells": SpaceSettings(name="nas-bench-201", options={"channels": 8, "cells": 1}),
        "mobile": SpaceSettings(name="mobile", preset="tiny", options={}),
    }
    made = {name: make_space(each, task.dims).bind(task) for name, each in settings.items()}
    if task.dims == 2:
        made["function"] = FunctionSpace(residual_chain, "residual-chain", task)
    return made


def main() -> None:
    """Compares a sampled child of each space and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=list(_SIZES), help="one kind of input")
    options = parser.parse_args()
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else []
    rows = {(row["input"], row["space"]): row for row in kept}
    for kind in [options.only] if options.only else _SIZES:
        task = Task(channels=3, size=_SIZES[kind], classes=10)
        for name, space in spaces(task).items():
            child = space.build(space.sample(generator(0, name)), task, "cpu")
            found = compare_memory(child, task)
            rows[kind, name] = {"input": kind, "space": name, **found}
            RESULT.write_text(json.dumps(list(rows.values()), indent=1) + "\n")
            print(json.dumps(rows[kind, name]), flush=True)


if __name__ == "__main__":
    main()
