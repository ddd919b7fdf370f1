"""What a run folder holds, as far as a report shows it: no data, no weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from smash.config import RunSettings
from smash.errors import NotFoundError, RunStateError
from smash.evaluation import Evaluation
from smash.io.files import read_json
from smash.profiling.latency import TIMED
from smash.reporting.formatting import times_in_words
from smash.run.child import ChildRecord, read_record, read_result
from smash.run.layout import (
    ARCHITECTURE,
    AUDIT,
    CHILDREN,
    ENVIRONMENT,
    FOUND,
    METRICS,
    RESULT,
    STUDY,
)
from smash.run.metrics_log import MetricsLog
from smash.run.run import Run
from smash.study.study import Candidate, Study


@dataclass(frozen=True, kw_only=True)
class TrainedChild:
    """A child as its folder tells of it.

    Attributes:
        name: Name of the folder.
        record: Its ``architecture.json``.
        epochs: Its training curves, a row an epoch.
        result: What was found at the end, by split; empty while it is being trained.
    """

    name: str
    record: ChildRecord
    epochs: Sequence[Mapping[str, Any]]
    result: Mapping[str, Evaluation]

    @property
    def audited(self) -> bool:
        """Whether it was trained to check the ranking, and not to be used."""
        return AUDIT in self.result or self.name.endswith(f"-{AUDIT}")

    @property
    def what(self) -> str:
        """The candidate's id, or the reference network."""
        return str(self.record.baseline or self.record.id)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A run, read.

    Attributes:
        name: Name of the folder.
        settings: What was asked for.
        environment: With which versions, on which machine.
        curves: Training curves of the SMASH network, a row an epoch.
        search: What the search was asked for; empty before the first.
        candidates: All candidates, in the order in which they were scored.
        ranked: The same, best first.
        readable: A few features of each candidate by name, by the candidate's id.
        children: Trained children, the best by validation error first.
        trust: What the last check of the ranking found; None where there was none.
        times: How long the best take, as `smash.reporting.formatting.times_in_words` says it.
    """

    name: str
    settings: RunSettings
    environment: Mapping[str, Any]
    curves: Sequence[Mapping[str, Any]]
    search: Mapping[str, Any]
    candidates: Sequence[Candidate]
    ranked: Sequence[Candidate]
    readable: Mapping[str, Mapping[str, float]]
    children: Sequence[TrainedChild]
    trust: Mapping[str, Any] | None
    times: Sequence[tuple[str, ...]]

    @property
    def rank_by(self) -> str:
        """What ranks: ``loss``, ``error`` or ``top5_error``."""
        return str(self.search.get("rank_by", "loss"))

    @property
    def complete(self) -> list[Candidate]:
        """Candidates that were scored on all examples, best first."""
        return [one for one in self.ranked if not one.partial]

    @property
    def ranks(self) -> dict[str, int]:
        """The rank of each candidate by its id."""
        return {one.id: rank for rank, one in enumerate(self.ranked)}

    @property
    def kept(self) -> list[TrainedChild]:
        """Children that were trained to be used."""
        return [child for child in self.children if not child.audited]


def read_contents(path: Path) -> Contents:
    """Reads a run folder.

    Args:
        path: The folder.

    Raises:
        NotFoundError: There is no run at this path.
        RunStateError: A file of it is damaged.
    """
    run = Run.open(path)
    environment = path / ENVIRONMENT
    try:
        study = Study(path / STUDY)
    except NotFoundError:
        study = None  # a report of what there is: the search may come later
    found = path / FOUND
    ranked = study.ranked() if study else []
    return Contents(
        name=path.resolve().name,
        settings=run.settings,
        environment=read_json(environment) if environment.is_file() else {},
        curves=run.metrics.rows(),
        search=(study.settings if study else None) or {},
        candidates=study.candidates() if study else [],
        ranked=ranked,
        readable=study.readable() if study else {},
        children=_children(path / CHILDREN),
        trust=_read_trust(found) if found.is_file() else None,
        times=times_in_words(path, ranked[:TIMED]),
    )


@dataclass(frozen=True, kw_only=True)
class _Interval:
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class _Agreement:
    kendall_tau: _Interval


@dataclass(frozen=True, kw_only=True)
class _Trust(_Agreement):
    """What is shown of ``trust.json``; runs of earlier releases lack what has a default."""

    n: int
    truth: str
    score: str
    baselines: Mapping[str, _Agreement]
    together: Mapping[str, _Agreement] = field(default_factory=dict)
    points: Sequence[tuple[str, float | None, float | None]] = ()


def _read_trust(path: Path) -> dict[str, Any]:
    found = read_json(path)
    try:
        TypeAdapter(_Trust).validate_python(found)
    except ValidationError as error:
        places = sorted({".".join(map(str, each["loc"])) for each in error.errors()})
        raise RunStateError(
            f"{path} is damaged: {', '.join(places):.200}: repeat 'smash correlate'"
        ) from None
    return found


def _children(folder: Path) -> list[TrainedChild]:
    children = [
        TrainedChild(
            name=path.name,
            record=read_record(path),
            epochs=MetricsLog(path / METRICS).rows(),
            result=read_result(path) if (path / RESULT).is_file() else {},
        )
        for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if (path / ARCHITECTURE).is_file()
    ]
    return sorted(children, key=_by_validation)


def _by_validation(child: TrainedChild) -> tuple[float, float]:
    found = child.result.get("val")
    return (found.error, found.loss) if found else (math.inf, math.inf)
