"""What several objectives are: how wrong a candidate is, against what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smash.errors import InvalidValueError, unknown
from smash.scoring.scorer import RankBy
from smash.searching import pareto
from smash.study.study import Candidate

QUALITIES: tuple[RankBy, ...] = ("error", "loss", "top5_error")
COSTS = ("params", "macs", "latency")
"""Parameters, multiply-accumulates for one input, and seconds for one input on this machine."""

_SETTING = "objectives"


def check_objectives(objectives: Sequence[str]) -> list[str]:
    """Faults in a choice of objectives; none where there are no objectives."""
    if not objectives:
        return []
    known = (*QUALITIES, *COSTS)
    faults = [unknown("objective", name, known) for name in objectives if name not in known]
    if faults:
        return faults
    given = ",".join(objectives)
    if len(set(objectives)) < len(objectives):
        faults.append(f"objectives must differ, got {given!r}")
    if sum(name in QUALITIES for name in objectives) != 1:
        faults.append(
            f"objectives must hold one of {', '.join(QUALITIES)}, got {given!r}: try error,params"
        )
    if not any(name in COSTS for name in objectives):
        faults.append(
            f"objectives must hold at least one of {', '.join(COSTS)}, got {given!r}: try "
            "error,params"
        )
    return faults


def quality_of(objectives: Sequence[str]) -> RankBy:
    """The objective that says how wrong a candidate is."""
    return next(name for name in QUALITIES if name in objectives)


def to_setting(objectives: Sequence[str]) -> str | None:
    """How a study keeps its objectives."""
    return ",".join(objectives) or None


def of_study(settings: dict[str, Any] | None) -> tuple[str, ...]:
    """The objectives that a study was searched by; of one by a single score, that and its size."""
    settings = settings or {}
    if settings.get(_SETTING):
        return tuple(str(settings[_SETTING]).split(","))
    return (str(settings.get("rank_by", "loss")), "params")


def values(candidate: Candidate, objectives: Sequence[str]) -> tuple[float, ...]:
    """What a candidate has in each objective; less is better.

    Raises:
        InvalidValueError: A cost of it was not measured.
    """
    found = [getattr(candidate, name) for name in objectives]
    if None in found:
        raise InvalidValueError(
            f"{objectives[found.index(None)]} of candidate {candidate.id} was not measured"
        )
    return tuple(map(float, found))


def front(candidates: Sequence[Candidate], objectives: Sequence[str]) -> list[Candidate]:
    """The candidates with full scores that no other one dominates, by their first objective."""
    full = [one for one in candidates if not one.partial]
    points = [values(one, objectives) for one in full]
    ranks = pareto.fronts(points)
    best = [(point, one) for point, one, rank in zip(points, full, ranks, strict=True) if not rank]
    return [one for _, one in sorted(best, key=lambda pair: pair[0])]
