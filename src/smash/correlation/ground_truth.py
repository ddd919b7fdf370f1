"""Real accuracies to judge a ranking by: from a table, or by training candidates from scratch.

What is trained is judged on the *audit split*: examples taken out of the training split, on which
these children are not trained and no score is computed. The test split stays untouched. (The SMASH
network itself did learn from them, for it was trained before; a score is its loss on the
*validation* split, so that the two judge on different examples.)
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from smash.config import ChildSettings
from smash.data import Data, Split
from smash.data.splits import cut
from smash.errors import DataError, InvalidValueError, NotFoundError, shortened, unknown
from smash.run.child import child_name
from smash.run.layout import AUDIT
from smash.run.run import Run
from smash.runtime.executor import Executor
from smash.runtime.progress import Progress, silent
from smash.runtime.rng import generator
from smash.spaces import SearchSpace
from smash.study.study import Candidate
from smash.training.child import ChildJob
from smash.training.children import train_children
from smash.training.retrain import network_of

Half = Literal["first", "second"]

AUDIT_SEED = 2017
_AUDIT_FRACTION = 0.2
_AUDIT_EXAMPLES = 5000  # more would not tell children apart any better, but cost training
_COLUMN = "architecture"


@dataclass(frozen=True)
class Known:
    """An architecture whose real accuracy is known.

    Attributes:
        id: Its short name.
        architecture: The architecture.
        truth: What was found, in the unit of the table; of what is trained, the share of audit
            examples classified rightly, 0…1.
    """

    id: str
    architecture: Any
    truth: float


def read_table(path: str | Path, column: str, space: SearchSpace[Any]) -> list[Known]:
    """Reads a CSV file with a column ``architecture`` in the space's text form.

    Args:
        path: The file; its first line names the columns.
        column: The column of the real accuracies.
        space: The space.

    Raises:
        NotFoundError: There is no such file.
        DataError: There is no such column, or a row is not an architecture and a number.
    """
    return _read_rows(Path(path), column, read_columns(path, column), space)


def read_columns(path: str | Path, column: str) -> list[tuple[int, str, str]]:
    """The rows of a table as they stand there: line, architecture and real accuracy.

    Args:
        path: The file.
        column: The column of the real accuracies.

    Raises:
        NotFoundError: There is no such file.
        DataError: There is no such column, or no row.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"table {str(path)!r} is not there: name a CSV file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            missing = [each for each in (_COLUMN, column) if each not in columns]
            if missing:
                raise DataError(
                    *(f"{path}: {unknown('column', each, columns or ['none'])}" for each in missing)
                )
            rows = [(reader.line_num, row[_COLUMN], row[column]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}") from None
    if not rows:
        raise DataError(f"{path} has no rows under its first line: add architectures")
    return rows


def _read_rows(
    path: Path, column: str, rows: Sequence[tuple[int, str, str]], space: SearchSpace[Any]
) -> list[Known]:
    known: list[Known] = []
    lines: dict[str, int] = {}
    faults: list[str] = []
    for line, text, value in rows:
        try:
            truth = float(value)
        except (TypeError, ValueError):
            truth = math.nan
        if not math.isfinite(truth):
            faults.append(f"{path}, line {line}: {column} must be a finite number, got {value!r}")
        try:
            architecture = space.parse(text or "")
        except InvalidValueError as error:
            faults += [f"{path}, line {line}: {fault}" for fault in error.faults]
            continue
        identity = space.identify(architecture)
        before = lines.setdefault(identity, line)
        if before != line:
            faults.append(
                f"{path}, line {line}: this architecture stands in line {before} already: "
                "keep one row of it"
            )
        known.append(Known(identity, architecture, truth))
    if faults:
        raise DataError(*shortened(faults))
    return known


def check_part(half: str | None, limit: int | None) -> None:
    """Makes sure that there is such a part of a table.

    Raises:
        InvalidValueError: There is no such half, or `limit` is not positive.
    """
    faults = []
    if half is not None and half not in get_args(Half):
        faults.append(f"half must be one of {', '.join(get_args(Half))}, got {half!r}")
    if limit is not None and limit < 1:
        faults.append(f"limit must be at least 1, got {limit}")
    if faults:
        raise InvalidValueError(*faults)


def part_of(
    known: Sequence[Known],
    space: SearchSpace[Any],
    half: Half | None = None,
    limit: int | None = None,
) -> list[Known]:
    """A part of a table that is always the same: one half may choose, and the other report.

    Which half an architecture is in depends on itself alone: not on the order of rows, on the rest
    of the table, or on the options of the space.

    Args:
        known: All rows.
        space: The space.
        half: Which half; both, if None.
        limit: How many at most, drawn from all over the table.

    Raises:
        InvalidValueError: There is no such half, or `limit` is not positive.
    """
    check_part(half, limit)

    def mark(one: Known) -> float:
        """A number in 0…1 that looks random."""
        # Not from the id, in which the options of the space are.
        text = json.dumps(space.to_json(one.architecture), sort_keys=True)
        return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12

    marks = {one.id: mark(one) for one in known}
    chosen = [one for one in known if half is None or (marks[one.id] < 0.5) == (half == "first")]
    if limit is None:
        return chosen
    drawn = {one.id for one in sorted(chosen, key=lambda one: marks[one.id])[:limit]}
    return [one for one in chosen if one.id in drawn]


def stratified(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """Draws candidates from all over the ranking: one of each of `count` equal parts of it.

    Args:
        candidates: Scored candidates; those that were dropped early are behind the others, and of
            them the longer one was kept the better.
        count: How many.

    Returns:
        The drawn ones, best first; of the same candidates always the same.

    Raises:
        InvalidValueError: There are not as many.
    """
    ranked = sorted(candidates, key=lambda one: (one.partial, -one.examples, one.value, one.id))
    if not 1 <= count <= len(ranked):
        raise InvalidValueError(
            f"train must be from 1 to {len(ranked)}, the number of candidates, got {count}: search "
            "for more, or train fewer"
        )
    bounds = [len(ranked) * index // count for index in range(count + 1)]
    return [
        ranked[generator(0, "audit sample", index).integers(low, high)]
        for index, (low, high) in enumerate(pairwise(bounds))
    ]


def audit_cut(data: Data) -> tuple[Data, Split]:
    """Takes the audit split out of the training split, a fair share of each class.

    Args:
        data: The data of a run.

    Returns:
        The data without those examples, and the audit split.

    Raises:
        DataError: No class has an example to spare.
    """
    fraction = min(_AUDIT_FRACTION, _AUDIT_EXAMPLES / len(data.train))
    rest, audit = cut(data.train, fraction, AUDIT_SEED, keep=1)
    if not len(audit):
        raise DataError(
            f"the training split has {len(data.train)} examples and none to spare: an audit split "
            "is cut from it, and each class keeps an example; add examples"
        )
    return replace(data, train=rest), audit


def train_sample(
    run: Run,
    sample: Sequence[Candidate],
    settings: ChildSettings,
    device: str = "auto",
    progress: Progress = silent,
    executor: Executor | None = None,
) -> list[Known]:
    """Trains candidates from scratch and judges them on the audit split.

    Each is kept as a child of the run, marked ``audit``; one that is there already is not trained
    again, and an unfinished one goes on.

    Args:
        run: The run that the candidates are of.
        sample: The candidates.
        settings: How they are trained.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        progress: Shows how far it is.
        executor: Trains them; by default this process.
    """
    jobs = [
        ChildJob(
            run.child_path(f"{child_name(one.id, settings)}-{AUDIT}"),
            network_of(one),
            settings,
        )
        for one in sample
    ]
    children = train_children(run, jobs, _with_audit, device, progress, executor)
    known = []
    for candidate, child in zip(sample, children, strict=True):
        architecture = run.space.from_json(candidate.architecture)
        known.append(Known(candidate.id, architecture, 1 - child.error(AUDIT)))
    return known


def _with_audit(data: Data, place: torch.device) -> tuple[Data, Mapping[str, Split]]:
    """Trains on what the audit split leaves, and judges on validation and audit."""
    data, audit = audit_cut(data)
    data = data.to(place)
    return data, {"val": data.val, AUDIT: audit.on(place, data.train.stored)}  # they share images
