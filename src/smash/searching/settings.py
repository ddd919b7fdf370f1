"""settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from smash.errors import faults_of, unknown
from smash.runtime.device import Precision
from smash.scoring.priors import check_proxy
from smash.scoring.scorer import RankBy

_EVOLVING = ("evolution", "nsga2")

_CHOICES = {
    "rank_by": get_args(RankBy),
    "split": ("val", "test"),
    "strategy": ("perturbation", "gradient", *_EVOLVING),
    "precision": get_args(Precision),
}


def _counts(strategy: str, given: Mapping[str, int | None]) -> tuple[dict[str, int], list[str]]:
    """How many candidates each phase proposes, and the faults in what was asked for."""
    evolving = strategy in _EVOLVING
    defaults = (
        {"random": 100, "perturb": 0, "markov": 0, "evolve": 600}
        if evolving
        else {"random": 500, "perturb": 100, "markov": 100, "evolve": 0}
    )
    mend = "take evolve" if evolving else "take strategy evolution, or objectives"
    faults = [
        f"{name} must be 0 with strategy {strategy!r}, got {given[name]}: {mend}"
        for name, default in defaults.items()
        if not default and given[name]
    ]
    counts = {
        name: default if (count := given[name]) is None else count
        for name, default in defaults.items()
    }
    return counts, faults


def _fitting(strategy: str, objectives: Sequence[str], rank_by: str) -> list[str]:
    """Faults in how strategy, objectives and what ranks fit together."""
    faults = []
    if objectives and strategy in _CHOICES["strategy"] and strategy != "nsga2":
        faults.append(
            f"strategy must be 'nsga2' for several objectives, got {strategy!r}: leave it out"
        )
    if strategy == "nsga2" and not objectives:
        faults.append("strategy 'nsga2' needs objectives, got none: name some, as error,params")
    if objectives and rank_by not in ("loss", *objectives):
        faults.append(f"rank_by must be among the objectives, got {rank_by!r}: leave it out")
    return faults


def _wrong(
    counts: Mapping[str, int],
    rate: float,
    seed: int,
    chosen: Mapping[str, str],
    sizes: Mapping[str, int],
    prior: str | None,
) -> list[str]:
    faults = [
        f"{name} must be at least 0, got {count}" for name, count in counts.items() if count < 0
    ]
    if not sum(max(0, count) for count in counts.values()) and not faults:
        faults.append(f"{', '.join(counts)} are all 0: ask for at least 1 candidate")
    if not counts["random"] and any(counts.values()):
        faults.append("random must be at least 1, got 0: all others change the best of it")
    if not 0 < rate <= 1:
        faults.append(f"rate must be more than 0 and at most 1, got {rate:g}")
    if seed < 0:
        faults.append(f"seed must be at least 0, got {seed}")
    faults += [
        unknown(name, choice, _CHOICES[name])
        for name, choice in chosen.items()
        if choice not in _CHOICES[name]
    ]
    faults += [f"{name} must be at least 1, got {size}" for name, size in sizes.items() if size < 1]
    return faults + faults_of(lambda: check_proxy("prior", prior))
