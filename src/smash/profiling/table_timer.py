"""Latency of children as the sum over a table of operators."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smash.errors import InvalidValueError, shortened
from smash.io.measurements import Numbers
from smash.io.text import as_size, printable, text_digest
from smash.profiling.latency import Timer, kind_of_time
from smash.profiling.operations import CONVOLUTION, Operation, record_operations
from smash.profiling.operator_table import REMEDY, Operator, read_table
from smash.profiling.stored_times import CHILD
from smash.runtime.rng import generator
from smash.spaces.base import SearchSpace
from smash.spaces.task import Task


def list_operators(child: nn.Module, task: Task) -> list[Operator]:
    """Lists the operators of a network for one input, in the order of execution.

    Views and norms that a convolution absorbs are none.

    Args:
        child: A module on the meta device.
        task: Gives the shape of the input.
    """
    return [_describe(operation) for operation in record_operations(child, task).folded()]


def sample_operators(space: SearchSpace[Any], task: Task, samples: int) -> list[Operator]:
    """Lists the different operators of sampled architectures, of the smallest and of the largest.

    Args:
        space: The search space.
        task: The task that children are built for.
        samples: Number of architectures to sample; the sample is always the same.
    """
    rng = generator(0, "operators")
    sampled = (space.sample(rng) for _ in range(samples))
    found: set[Operator] = set()
    for architecture in (space.smallest(), space.largest(), *sampled):
        found.update(list_operators(space.build(architecture, task), task))
    return sorted(found)


class TableTimer(Timer):
    """Adds up the seconds that a table gives to the operators of a child.

    Args:
        space: The search space.
        task: The task that children are built for.
        path: The table; see `read_table`.

    Raises:
        NotFoundError: The table does not exist.
        DataError: The table is malformed.
    """

    def __init__(self, space: SearchSpace[Any], task: Task, path: Path) -> None:
        self._space, self._task, self._path = space, task, path
        self._table = read_table(path)
        rows = text_digest(repr(sorted(self._table.items())))
        self.kind = kind_of_time(CHILD, torch.device("cpu"), device="table", rows=rows)

    def __call__(self, architecture: Any) -> Numbers:
        """Adds up the operators of an architecture's child.

        Raises:
            InvalidValueError: The table lacks an operator.
        """
        operators = list_operators(self._space.build(architecture, self._task), self._task)
        missing = [each for each in dict.fromkeys(operators) if each not in self._table]
        if missing:
            raise InvalidValueError(
                *shortened(
                    f"latency_table {str(self._path)!r:.100} lacks {printable(','.join(each))}: "
                    f"add the line with its seconds, and repeat the search; {REMEDY}"
                    for each in missing
                )
            )
        return {"seconds": math.fsum(self._table[each] for each in operators), "spread": 0.0}


def _describe(operation: Operation) -> Operator:
    kind, (positional, named) = operation.kind, operation.arguments
    options: dict[str, Any] = {}
    if isinstance(kind, torch._ops.OpOverload):
        names = (argument.name for argument in kind._schema.arguments)
        options = dict(zip(names, positional, strict=False)) | named
    kernel = options.get("kernel_size", ())
    if kind is CONVOLUTION:
        kernel = options["weight"].shape[2:]
    is_transposed = options.get("transposed", False)
    return Operator(
        # In-place operators end with an underscore, the methods of Python begin with two.
        operator="transposed_" * is_transposed + kind.__name__.partition(".")[0].strip("_"),
        input=" ".join(map(as_size, operation.inputs)),
        output=as_size(operation.output),
        kernel=_extents(kernel),
        stride=_extents(options.get("stride", ()) or kernel),
        dilation=_extents(options.get("dilation", ())),
        groups=_extents(options.get("groups", ())),
    )


def _extents(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
