"""Latency of children as the sum of a table of operators, as published for microcontrollers."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from smash.errors import DataError, InvalidValueError, NotFoundError, shortened
from smash.io.measurements import Numbers
from smash.io.text import as_size, printable
from smash.profiling.latency import CHILD, Timer, kind_of_time
from smash.profiling.operations import CONVOLUTION, Operation, record_operations
from smash.runtime.rng import generator
from smash.spaces.base import SearchSpace
from smash.spaces.task import Task

_SECONDS = "seconds"
_REMEDY = "'smash show RUN --operators' lists those of the space"


class Operator(NamedTuple):
    """An operator and all that its time depends on, as the cells of a row.

    Attributes:
        operator: Name that ATen gives it, such as ``convolution``, ``addmm`` or ``relu``.
        input: Shapes of the tensors that it reads, such as ``1x3x32x32``; weights are none.
        output: Shape of the tensor that it writes.
        kernel: Extents of its kernel, such as ``3x3``; empty if it has none, like the rest.
        stride: Strides.
        dilation: Dilations.
        groups: Groups of channels.

    Example:
        >>> print(",".join(Operator("addmm", input="1x64", output="1x10")))
        addmm,1x64,1x10,,,,
    """

    operator: str
    input: str
    output: str
    kernel: str = ""
    stride: str = ""
    dilation: str = ""
    groups: str = ""


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


def format_table(operators: Iterable[Operator]) -> str:
    """Formats operators as a CSV whose seconds are left to fill in."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*Operator._fields, _SECONDS))
    writer.writerows((*operator, "") for operator in operators)
    return text.getvalue()


def read_table(path: Path) -> dict[Operator, float]:
    """Reads a CSV with the columns of `Operator` and ``seconds``.

    Raises:
        NotFoundError: The file does not exist.
        DataError: A column is missing, seconds are no number from 0, or two rows contradict.
    """
    if not path.is_file():
        raise NotFoundError(
            f"latency_table {str(path)!r} is not a file: name a CSV file; {_REMEDY}"
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            columns = reader.fieldnames or []
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} must be CSV in UTF-8 ({error}): save it again") from None
    missing = [each for each in (*Operator._fields, _SECONDS) if each not in columns]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}: add them; {_REMEDY}")
    table: dict[Operator, float] = {}
    faults = []
    for number, row in rows:
        if None in row:
            faults.append(f"{path}: line {number} has more cells than columns: mend or remove it")
            continue
        operator = Operator(*(row[name].strip() for name in Operator._fields))
        seconds = _parse_seconds(row[_SECONDS])
        if math.isnan(seconds):
            faults.append(
                f"{path}: seconds must be a number from 0 in line {number}, got "
                f"{row[_SECONDS]!r:.40}: mend or remove the line"
            )
        elif table.setdefault(operator, seconds) != seconds:
            faults.append(
                f"{path}: line {number} gives {seconds:g} seconds to an operator that has "
                f"{table[operator]:g} above: keep one of them"
            )
    if faults:
        raise DataError(*shortened(faults))
    return table


def _parse_seconds(text: str) -> float:
    """Reads seconds; NaN if they are not finite or negative."""
    try:
        seconds = float(text)
    except ValueError:
        return math.nan
    return seconds if 0 <= seconds < math.inf else math.nan


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
        content = hashlib.sha256(repr(sorted(self._table.items())).encode()).hexdigest()
        self.kind = kind_of_time(CHILD, torch.device("cpu"), device="table", rows=content[:12])

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
                    f"add the line with its seconds, and repeat the search; {_REMEDY}"
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
