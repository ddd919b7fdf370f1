"""Objectives of a search: the quality of a candidate, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smash.errors import InvalidValueError, unknown
from smash.profiling.names import COSTS
from smash.scoring.score import RankBy
from smash.study.candidate import Candidate

QUALITY_OBJECTIVES: tuple[RankBy, ...] = ("error", "loss", "top5_error")


def objective_faults(objectives: Sequence[str]) -> list[str]:
    """Finds the faults in a choice of objectives; no objectives at all have none."""
    if not objectives:
        return []
    known = (*QUALITY_OBJECTIVES, *COSTS)
    faults = [unknown("objective", name, known) for name in objectives if name not in known]
    if faults:
        return faults
    value = ",".join(objectives)
    if len(set(objectives)) < len(objectives):
        faults.append(f"objectives must differ, got {value!r}")
    if sum(name in QUALITY_OBJECTIVES for name in objectives) != 1:
        faults.append(
            f"objectives must hold one of {', '.join(QUALITY_OBJECTIVES)}, got {value!r}: try "
            "error,params"
        )
    if not any(name in COSTS for name in objectives):
        faults.append(
            f"objectives must hold at least one of {', '.join(COSTS)}, got {value!r}: "
            "try error,params"
        )
    return faults


def quality_of(objectives: Sequence[str]) -> RankBy:
    """Returns the objective that is a quality, which ranks."""
    return next(name for name in QUALITY_OBJECTIVES if name in objectives)


def study_objectives(settings: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Returns the objectives of a study; for a search by one score, that score and the parameters.

    Args:
        settings: Settings of the study; see `Study.settings`.
    """
    settings = settings or {}
    return tuple(settings.get("objectives") or (settings.get("rank_by", "loss"), "params"))


def objective_values(candidate: Candidate, objectives: Sequence[str]) -> tuple[float, ...]:
    """Returns the values of a candidate in each objective, lower is better.

    Raises:
        InvalidValueError: A cost of the candidate was not measured.
    """
    values = [getattr(candidate, name) for name in objectives]
    if None in values:
        missing = objectives[values.index(None)]
        raise InvalidValueError(f"{missing} of candidate {candidate.id} was not measured")
    return tuple(map(float, values))


def pareto_front(candidates: Sequence[Candidate], objectives: Sequence[str]) -> list[Candidate]:
    """Returns the candidates that no other dominates, sorted by their first objective.

    Args:
        candidates: Settled candidates; those that a race dropped are left out.
        objectives: Names of the objectives.
    """
    from smash.searching.pareto import nondominated_ranks  # with a library that names need not

    full = [each for each in candidates if not each.partial]
    points = [objective_values(each, objectives) for each in full]
    ranks = nondominated_ranks(points)
    front = [
        (point, each) for point, each, rank in zip(points, full, ranks, strict=True) if not rank
    ]
    return [each for _, each in sorted(front, key=lambda pair: pair[0])]
