"""Real accuracies to judge a ranking by: read from a table, or found by training candidates.

Trained candidates are judged on the *audit split*: examples that are taken out of the training
split, on which these children are not trained and no score is computed. The test split is not
touched. (The SMASH network itself did learn from the audit examples; but a score is its loss on the
*validation* split, so that score and accuracy come from different examples.)
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from smash.config import ChildSettings
from smash.correlation.settings import Half
from smash.data import Data, Split
from smash.data.splits import cut
from smash.errors import DataError, InvalidValueError, shortened
from smash.io.csv_tables import read_csv
from smash.run.child_folder import child_name
from smash.run.layout import AUDIT
from smash.run.run import Run
from smash.runtime.executor import Executor
from smash.runtime.progress import Progress, silent
from smash.runtime.rng import generator
from smash.spaces import SearchSpace
from smash.study.candidate import Candidate
from smash.training.child import ChildJob, network_of
from smash.training.children import train_children

AUDIT_SEED = 2017
_AUDIT_FRACTION = 0.2
_AUDIT_EXAMPLES = 5000  # More examples would cost training but not judge children any better.
_COLUMN = "architecture"


@dataclass(frozen=True)
class GroundTruth:
    """An architecture with its real accuracy.

    Attributes:
        id: Id of the architecture.
        architecture: The architecture.
        accuracy: In the unit of the table; for a trained candidate, the share of audit examples
            that it classifies correctly, 0…1.
    """

    id: str
    architecture: Any
    accuracy: float


def read_table(path: str | Path, column: str, space: SearchSpace[Any]) -> list[GroundTruth]:
    """Reads a CSV file with a column ``architecture`` in the space's text form.

    Args:
        path: The file; its first line names the columns.
        column: The column of the real accuracies.
        space: The search space.

    Raises:
        NotFoundError: The file does not exist.
        DataError: The column does not exist, or a row is not an architecture and a number.
    """
    known: list[GroundTruth] = []
    lines: dict[str, int] = {}
    faults: list[str] = []
    for line, text, value in read_columns(path, column):
        try:
            accuracy = math.nan if "_" in value else float(value)  # Python takes 9_1 for 91
        except ValueError:
            accuracy = math.nan
        if not math.isfinite(accuracy):
            faults.append(f"{path}, line {line}: {column} must be a finite number, got {value!r}")
        try:
            architecture = space.parse(text)
        except InvalidValueError as error:
            faults += [f"{path}, line {line}: {fault}" for fault in error.faults]
            continue
        identity = space.identify(architecture)
        before = lines.setdefault(identity, line)
        if before != line:
            faults.append(
                f"{path}, line {line}: line {before} has the same architecture: keep one of them"
            )
        known.append(GroundTruth(identity, architecture, accuracy))
    if faults:
        raise DataError(*shortened(faults))
    return known


def read_columns(path: str | Path, column: str) -> list[tuple[int, str, str]]:
    """Reads the rows of a table as text: line number, architecture and real accuracy.

    Args:
        path: The file.
        column: The column of the real accuracies.

    Raises:
        NotFoundError: The file does not exist.
        DataError: As `read_csv`, or there are no rows.
    """
    rows = read_csv(path, [_COLUMN, column], name="table")
    if not rows:
        raise DataError(f"{path} has no rows under its first line: add architectures")
    return [(line, row[_COLUMN], row[column]) for line, row in rows]


def part_of(
    known: Sequence[GroundTruth],
    space: SearchSpace[Any],
    half: Half | None = None,
    limit: int | None = None,
) -> list[GroundTruth]:
    """Selects a fixed part of a table, so that one half may tune a setting and the other report.

    The half of an architecture depends on itself alone: not on the order of rows, the rest of the
    table, or the options of the space.

    Args:
        known: All rows.
        space: The search space.
        half: ``first`` or ``second``; both if None.
        limit: The most rows to keep, drawn from all over the table.
    """

    def position(row: GroundTruth) -> float:
        """Computes a pseudorandom number in 0…1."""
        # Not of the id, which depends on the options of the space.
        text = json.dumps(space.to_json(row.architecture), sort_keys=True)
        return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12

    positions = {row.id: position(row) for row in known}
    part = [row for row in known if half is None or (positions[row.id] < 0.5) == (half == "first")]
    kept = {row.id for row in sorted(part, key=lambda row: positions[row.id])[:limit]}
    return [row for row in part if row.id in kept]


def stratified_sample(ranked: Sequence[Candidate], count: int) -> list[Candidate]:
    """Draws candidates from all over the ranking: one from each of `count` equal parts of it.

    Args:
        ranked: The candidates, best first.
        count: Number to draw.

    Returns:
        The sample, best first; of the same candidates it is always the same.

    Raises:
        InvalidValueError: There are fewer candidates.
    """
    if not 1 <= count <= len(ranked):
        raise InvalidValueError(
            f"train must be from 1 to {len(ranked)}, the number of candidates, got {count}: search "
            "for more, or train fewer"
        )
    bounds = [len(ranked) * index // count for index in range(count + 1)]
    return [
        ranked[int(generator(0, "audit sample", index).integers(low, high))]
        for index, (low, high) in enumerate(pairwise(bounds))
    ]


def audit_cut(data: Data) -> tuple[Data, Split]:
    """Takes the audit split out of the training split, a fair share of each class.

    Args:
        data: The data of a run.

    Returns:
        The data without the audit examples, and the audit split.

    Raises:
        DataError: No class has an example to spare.
    """
    fraction = min(_AUDIT_FRACTION, _AUDIT_EXAMPLES / len(data.train))
    rest, audit = cut(data.train, fraction, AUDIT_SEED, keep=1)
    if not len(audit):
        raise DataError(
            f"the training split has {len(data.train)} examples and none to spare for an audit "
            "split, because each class keeps one; add examples"
        )
    return replace(data, train=rest), audit


def train_sample(
    run: Run,
    sample: Sequence[Candidate],
    settings: ChildSettings,
    device: str = "auto",
    progress: Progress = silent,
    executor: Executor | None = None,
) -> list[GroundTruth]:
    """Trains candidates from scratch and judges them on the audit split.

    Each becomes a child of the run with ``audit`` in its name. Finished children are not trained
    again, and unfinished ones continue.

    Args:
        run: The run that the candidates are from.
        sample: The candidates.
        settings: The settings of their training.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        progress: Shows progress.
        executor: Trains them; by default this process.
    """
    jobs = [
        ChildJob.of(
            run, network_of(each), settings, name=f"{child_name(each.id, settings)}-{AUDIT}"
        )
        for each in sample
    ]
    children = train_children(run, jobs, _with_audit, device, progress, executor)
    return [
        GroundTruth(
            candidate.id, run.space.from_json(candidate.architecture), 1 - child.error(AUDIT)
        )
        for candidate, child in zip(sample, children, strict=True)
    ]


def _with_audit(data: Data, device: torch.device) -> tuple[Data, Mapping[str, Split]]:
    """Trains without the audit split, and judges on validation and audit."""
    data, audit = audit_cut(data)
    data = data.to(device)
    audit = audit.on(device, data.train.stored)  # shares the images that are there already
    return data, {"val": data.val, AUDIT: audit}
