"""Tables of operators and their seconds, as published for microcontrollers; read without torch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from smash.errors import DataError, shortened
from smash.io.csv_tables import read_csv

_SECONDS = "seconds"

REMEDY = "'smash show RUN --operators' lists those of the space"
"""Advice on operators that a table lacks."""


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
        DataError: As `read_csv`, seconds are no number from 0, or two rows contradict.
    """
    rows = read_csv(path, (*Operator._fields, _SECONDS), name="latency_table", remedy=REMEDY)
    table: dict[Operator, float] = {}
    faults = []
    for line, row in rows:
        operator = Operator(*(row[name].strip() for name in Operator._fields))
        seconds = _parse_seconds(row[_SECONDS])
        if math.isnan(seconds):
            faults.append(
                f"{path}, line {line}: seconds must be a number from 0, got "
                f"{row[_SECONDS]!r:.40}: mend or remove the line"
            )
        elif table.setdefault(operator, seconds) != seconds:
            faults.append(
                f"{path}, line {line}: the operator has {seconds:g} seconds here and "
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
