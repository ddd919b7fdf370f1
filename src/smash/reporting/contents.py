"""Contents of a run folder that a report shows: no data and no weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from smash.comparing.comparison import Comparison, Contestant, read_comparison
from smash.config import RunSettings
from smash.errors import NotFoundError
from smash.evaluation import Evaluation
from smash.io.files import read_json
from smash.profiling.names import COSTS
from smash.profiling.stored_times import TIMED
from smash.reporting.latencies import latency_rows
from smash.run.child_folder import ChildRecord, read_record, read_result
from smash.run.data_facts import DataFacts
from smash.run.layout import (
    ARCHITECTURE,
    AUDIT,
    BRIEF,
    CHILDREN,
    ENVIRONMENT,
    FINALS,
    METRICS,
    RESULT,
    STUDY,
)
from smash.run.metrics_log import MetricsLog
from smash.run.mistakes import Mistake, Mistakes
from smash.run.run import Run
from smash.run.trust import Trust
from smash.searching.objectives import pareto_front
from smash.study.candidate import Candidate
from smash.study.study import Study
from smash.training.finals import Finals


@dataclass(frozen=True, kw_only=True)
class TrainedChild:
    """A child, read from its folder.

    Attributes:
        name: Name of the folder.
        record: Its ``architecture.json``.
        epochs: Its training curves, a row for each epoch.
        result: Its final evaluation by split; empty while it is being trained.
        mistakes: Images that it takes for another class, the worst first.
    """

    name: str
    record: ChildRecord
    epochs: Sequence[Mapping[str, Any]]
    result: Mapping[str, Evaluation]
    mistakes: Sequence[Mistake] = ()

    @property
    def audited(self) -> bool:
        """Whether it was trained to check the ranking."""
        return AUDIT in self.result or (not self.result and self.name.endswith(f"-{AUDIT}"))

    @property
    def brief(self) -> bool:
        """Whether it was trained briefly, for the finals alone."""
        return BRIEF in self.result or (not self.result and self.name.endswith(f"-{BRIEF}"))

    @property
    def origin(self) -> str:
        """The id of its candidate, or the name of its reference network."""
        return self.record.baseline or self.record.id


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The content of a run folder.

    Attributes:
        name: Name of the folder.
        settings: The settings of the run.
        environment: Versions and machine.
        curves: Training curves of the SMASH network, a row for each epoch.
        search: The settings of the search; empty before the first.
        candidates: All candidates, in the order in which they were scored.
        ranked: The same, best first.
        readable: Reads architectures and a few features by name of the candidates that are shown,
            of which there are few; gives the features by the candidate's id.
        children: Trained children, sorted by validation error.
        data: The data in numbers; None where they are missing.
        comparison: The latest comparison with plain networks; None before the first.
        finals: The latest finals; None before the first.
        trust: The latest check of the ranking; None before the first.
        times: Latencies of the best candidates, as `latency_rows` gives them.
    """

    name: str
    settings: RunSettings
    environment: Mapping[str, Any]
    curves: Sequence[Mapping[str, Any]]
    search: Mapping[str, Any]
    candidates: Sequence[Candidate]
    ranked: Sequence[Candidate]
    readable: Callable[[Sequence[Candidate]], Mapping[str, Mapping[str, float]]]
    children: Sequence[TrainedChild]
    trust: Trust | None
    data: DataFacts | None = None
    comparison: Comparison | None = None
    finals: Finals | None = None
    times: Sequence[tuple[str, ...]]

    @property
    def rank_by(self) -> str:
        """The score that ranks: ``loss``, ``error`` or ``top5_error``."""
        return str(self.search.get("rank_by", "loss"))

    @cached_property
    def complete(self) -> list[Candidate]:
        """Candidates that were scored on all examples, best first."""
        return [candidate for candidate in self.ranked if not candidate.partial]

    @cached_property
    def winner(self) -> Candidate | None:
        """The winner of the finals, which a race may have dropped, or the best-ranked candidate."""
        best = self.finals.winner if self.finals else None
        of_finals = (candidate for candidate in self.ranked if candidate.id == best)
        return next(of_finals, None) or next(iter(self.complete), None)

    @property
    def compared(self) -> Contestant | None:
        """The winner as the comparison found it, over all seeds; None where it is not in it."""
        contestants = self.comparison.contestants if self.comparison else []
        found = (each for each in contestants if self.winner and each.name == self.winner.id)
        return next(found, None)

    @property
    def verdict(self) -> str | None:
        """The verdict of the comparison, which names its winner where that is not this page's."""
        if self.comparison is None:
            return None
        compared = self.comparison.contestants[0].name
        if self.winner is None or compared == self.winner.id:
            return self.comparison.verdict
        return f"The comparison took {compared} for the winner. {self.comparison.verdict}"

    @cached_property
    def ranks(self) -> dict[str, int]:
        """The rank of each candidate by its id."""
        return {candidate.id: rank for rank, candidate in enumerate(self.ranked)}

    @cached_property
    def fronts(self) -> dict[str, list[Candidate]]:
        """The Pareto front of the error and of each cost that all candidates have."""
        costs = [
            name
            for name in COSTS
            if self.candidates and all(getattr(each, name) is not None for each in self.candidates)
        ]
        return {name: pareto_front(self.candidates, (name, "error")) for name in costs}

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
        RunStateError: A file of the run is damaged.
    """
    run = Run.open(path)
    environment = path / ENVIRONMENT
    try:
        study = Study(path / STUDY, brief=True)
    except NotFoundError:
        study = None  # The run has not been searched yet.
    ranked = study.ranked() if study else []
    return Contents(
        name=path.resolve().name,
        settings=run.settings,
        environment=read_json(environment) if environment.is_file() else {},
        curves=run.metrics.rows(),
        search=(study.settings if study else None) or {},
        candidates=study.candidates()[: len(ranked)] if study else [],  # a search may add more
        ranked=ranked,
        readable=partial(_read_shown, study),
        children=_children(path / CHILDREN),
        trust=Trust.of_run(path),
        data=DataFacts.of_run(path),
        comparison=read_comparison(path),
        finals=Finals.read(path / FINALS) if (path / FINALS).is_file() else None,
        times=latency_rows(path, ranked[:TIMED]),
    )


def _read_shown(
    study: Study | None, candidates: Sequence[Candidate]
) -> Mapping[str, Mapping[str, float]]:
    if study is None:
        return {}
    study.read_architectures(candidates)
    return study.readable(candidates)


def _children(folder: Path) -> list[TrainedChild]:
    children = [
        TrainedChild(
            name=path.name,
            record=read_record(path),
            epochs=MetricsLog(path / METRICS).rows(),
            result=read_result(path) if (path / RESULT).is_file() else {},
            mistakes=Mistakes.of_child(path),
        )
        for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if (path / ARCHITECTURE).is_file()
    ]
    return sorted((child for child in children if not child.brief), key=_validation_result)


def _validation_result(child: TrainedChild) -> tuple[float, float]:
    result = child.result.get("val")
    return (result.error, result.loss) if result else (math.inf, math.inf)
