"""Is a ranking to be trusted? Its rank correlation with real accuracies, beside baselines.

What is measured is kept in ``RUN/trust.jsonl``; what was found last in ``RUN/trust.json``, for the
report, and as a picture in ``RUN/trust.svg``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from smash.config import ChildSettings
from smash.correlation.ground_truth import (
    Half,
    Known,
    check_part,
    part_of,
    read_columns,
    read_table,
    stratified,
    train_sample,
)
from smash.correlation.statistics import Agreement, Comparison
from smash.errors import InvalidValueError, faults_of, unknown
from smash.io.files import write_atomically, write_json
from smash.io.measurements import MeasurementLog, measurement_kind
from smash.reporting.charts import scatter
from smash.run.layout import AUDIT, FOUND, MEASUREMENTS, PICTURE, network_digest
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.progress import Progress, silent
from smash.runtime.ray_executor import check_address, open_executor
from smash.scoring.measure import measure_proxy
from smash.scoring.priors import (
    NO_PRIOR,
    ProxyValues,
    check_proxy,
    choose_prior,
    joint_score,
    proxy_score,
)
from smash.scoring.proxies import PROXIES, SIZE_PROXIES
from smash.scoring.rank_aggregation import Floats
from smash.scoring.scorer import CALIBRATION_EXAMPLES, SCORED_EXAMPLES, RankBy, Scorer
from smash.study.study import Candidate, Study

_FEWEST = 3


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What `correlate` found.

    Attributes:
        n: Architectures compared.
        score: Agreement of the SMASH score.
        baselines: Agreement of rankings that need no SMASH network, by name.
        together: Agreement of the score joined with each proxy, by the proxy's name.
        prior: The one of these that was asked for as a prior; None without.
        truth: Where real accuracies are from, in words.
        scored_on: What the score was computed on, in words.
        points: For each architecture its id, its score (lower is better) and its real accuracy.
        picture: Where the picture is.
    """

    n: int
    score: Agreement
    baselines: Mapping[str, Agreement]
    together: Mapping[str, Agreement]
    prior: str | None
    truth: str
    scored_on: str
    points: Sequence[tuple[str, float, float]]
    picture: Path

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; the score's agreement on top."""
        return {
            "n": self.n,
            "truth": self.truth,
            "score": self.scored_on,
            **self.score.as_json(),
            "baselines": {name: one.as_json() for name, one in self.baselines.items()},
            "together": {name: one.as_json() for name, one in self.together.items()},
            "prior": self.prior,
            "picture": str(self.picture),
        }


def correlate(
    run: Run,
    *,
    table: str | Path | None = None,
    column: str | None = None,
    lower_is_better: bool = False,
    half: Half | None = None,
    limit: int | None = None,
    train: int | None = None,
    proxies: Sequence[str] = (),
    prior: str | None = None,
    rank_by: RankBy | None = None,
    examples: int | None = None,
    device: str = "auto",
    ray: str | None = None,
    progress: Progress = silent,
    **recipe: Any,
) -> Trust:
    """Compares a run's ranking with real accuracies, from a table or from training a sample.

    What was measured or trained before is not measured again; an interrupted call goes on.

    Args:
        run: A run whose training has finished; to train a sample, one with ranked candidates.
        table: A CSV file with a column ``architecture``, in the space's text form.
        column: Its column of real accuracies.
        lower_is_better: Whether that column holds errors or losses.
        half: Look at a fixed half of the table: ``first`` or ``second``.
        limit: Look at this many of its architectures.
        train: Train this many candidates from scratch instead, drawn from all over the ranking, and
            judge them on examples that are taken out of the training split for that.
        proxies: Names of proxies to compare with.
        prior: A proxy, ``params`` or ``macs`` to join the score with, or ``none``; by default that
            of the search, and for a table that of the space in
            `smash.scoring.priors.DEFAULT_PRIORS`.
        rank_by: Rank by validation ``loss``, ``error`` or ``top5_error``; if None, by loss, or of
            candidates by what the search ranked by.
        examples: Validation examples to score a table's architectures on.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        ray: Train on the machines of a Ray cluster, with `train`: its address, or ``auto``; see
            `smash.runtime.executor`.
        progress: Shows how far it is.
        **recipe: Fields of `ChildSettings`, with `train`.

    Raises:
        InvalidValueError: A setting is wrong.
        NotFoundError: The table, or a candidate, is not there.
        DataError: The table is wrong.
        RunStateError: Training has not finished, or a file is damaged.
    """
    _check(
        table,
        column,
        train,
        lower_is_better,
        half,
        limit,
        examples,
        rank_by,
        proxies,
        prior,
        device,
        ray,
        recipe,
    )
    place = choose_device(device)
    measurements = MeasurementLog(run.path / MEASUREMENTS)
    if table is not None:
        known = part_of(read_table(table, str(column), run.space), run.space, half, limit)
        _check_enough(len(known), "the part of the table that is looked at")
        scorer = Scorer(
            run.network(place),
            run.search_data.to(place),
            examples=examples or SCORED_EXAMPLES,
            snapshots=run.snapshots(place),
        )
        scores = _scores(run, known, rank_by or "loss", scorer, measurements, progress)
        parts = [f"column {column} of {Path(table).name}", f"{half} half" if half else ""]
        truth = ", ".join(filter(None, parts))
        scored_on = f"{rank_by or 'loss'} on {len(scorer.labels):,} val examples"
    else:
        settings = ChildSettings(**recipe)
        study = Study(run.study_path)
        searched = study.settings or {}
        rank_by = rank_by or searched.get("rank_by", "loss")
        prior = prior or searched.get("prior") or "none"
        sample = stratified(study.candidates(), int(train or 0))
        _check_enough(len(sample), "train")
        with open_executor(ray, device) as executor:
            known = train_sample(run, sample, settings, device, progress, executor)
        scores = _full_scores(run, sample, known, searched, rank_by, measurements, place, progress)
        many = "s" * (settings.epochs != 1)
        truth = f"accuracy on the {AUDIT} split after {settings.epochs} epoch{many}"
        on_all = max(one.examples for one in study.candidates())
        scored_on = f"{rank_by} on {on_all:,} {sample[0].split} examples"
    prior = choose_prior(prior, run.space.name)
    sign = -1 if lower_is_better else 1
    names = dict.fromkeys([*SIZE_PROXIES, *proxies, *([prior] if prior else [])])
    numbers = {
        name: measure_proxy(run, name, _pairs(known), measurements, place, progress)
        for name in names
    }
    return _report(run, known, np.asarray(scores), sign, numbers, prior, truth, scored_on)


def _check(
    table: str | Path | None,
    column: str | None,
    train: int | None,
    lower_is_better: bool,
    half: str | None,
    limit: int | None,
    examples: int | None,
    rank_by: str | None,
    proxies: Sequence[str],
    prior: str | None,
    device: str,
    ray: str | None,
    recipe: Mapping[str, Any],
) -> None:
    """Looks at all that was asked for before data is loaded, which may take its time."""
    faults = []
    if (table is None) == (train is None):
        given = "both" if train is not None else "neither"
        faults.append(f"give either a table of real accuracies or a number to train, got {given}")
    if table is not None:
        if column is None:
            faults.append(f"column is missing: name the column of {table} with real accuracies")
        faults += [
            f"{name} is for what is trained, not for a table: leave it out"
            for name in (*recipe, *(["ray"] if ray else []))
        ]
    else:
        of_tables = {
            "column": column,
            "lower_is_better": lower_is_better or None,
            "half": half,
            "limit": limit,
            "examples": examples,
        }
        faults += [
            f"{name} is for a table: leave it out, or name a table"
            for name, value in of_tables.items()
            if value is not None
        ]
    if examples is not None and examples < 1:
        faults.append(f"examples must be at least 1, got {examples}")
    if rank_by is not None and rank_by not in get_args(RankBy):
        faults.append(f"rank_by must be one of {', '.join(get_args(RankBy))}, got {rank_by!r}")
    if recipe.get("init", "scratch") != "scratch":
        faults.append(f"init must be 'scratch' where accuracies are real, got {recipe['init']!r}")
    faults += [unknown("proxy", name, PROXIES) for name in proxies if name not in PROXIES]
    if prior != NO_PRIOR:
        faults += faults_of(lambda: check_proxy("prior", prior))
    if table is not None:
        faults += faults_of(lambda: check_part(half, limit))
    else:
        faults += faults_of(lambda: ChildSettings(**recipe))
    faults += faults_of(lambda: choose_device(device), lambda: check_address(ray))
    if faults:
        raise InvalidValueError(*faults)
    if table is not None:
        read_columns(table, str(column))


def _check_enough(count: int, what: str) -> None:
    if count < _FEWEST:
        raise InvalidValueError(
            f"{what} must have at least {_FEWEST} architectures to rank, got {count}"
        )


def _scores(
    run: Run,
    known: Sequence[Known],
    rank_by: RankBy,
    scorer: Scorer,
    measurements: MeasurementLog,
    progress: Progress,
) -> list[float]:
    """SMASH scores, lower is better."""
    kind = measurement_kind(
        "score",
        network=network_digest(run.path),
        examples=len(scorer.labels),
        calibration=CALIBRATION_EXAMPLES,
        order="fair",
        snapshots="mean loss",
        split=scorer.split,
        precision=scorer.precision,
    )

    def score(architecture: Any) -> Mapping[str, float]:
        found = scorer(architecture)
        return {each: getattr(found, each) for each in get_args(RankBy)}

    return [
        values[rank_by] for values in measurements.measure(kind, _pairs(known), score, progress)
    ]


def _full_scores(
    run: Run,
    sample: Sequence[Candidate],
    known: Sequence[Known],
    searched: Mapping[str, Any],
    rank_by: RankBy,
    measurements: MeasurementLog,
    place: torch.device,
    progress: Progress,
) -> list[float]:
    """Scores of candidates on all examples; those that the race dropped are scored on them now."""
    scores: dict[str, float] = {one.id: getattr(one, rank_by) for one in sample}
    dropped = [each for one, each in zip(sample, known, strict=True) if one.partial]
    if dropped:
        scorer = Scorer(
            run.network(place),
            run.search_data.to(place),
            examples=searched["examples"],
            split=searched["split"],
            precision=searched["precision"],
            snapshots=run.snapshots(place),
        )
        found = _scores(run, dropped, rank_by, scorer, measurements, progress)
        scores |= {one.id: score for one, score in zip(dropped, found, strict=True)}
    return [scores[one.id] for one in sample]


def _pairs(known: Sequence[Known]) -> list[tuple[str, Any]]:
    return [(one.id, one.architecture) for one in known]


def _report(
    run: Run,
    known: Sequence[Known],
    scores: Floats,
    sign: int,
    numbers: Mapping[str, Sequence[ProxyValues]],
    prior: str | None,
    truth: str,
    scored_on: str,
) -> Trust:
    real = np.asarray([one.truth for one in known])
    compare = Comparison(sign * real, -scores)
    baselines = {
        name: compare.with_score(proxy_score(name, each)) for name, each in numbers.items()
    }
    baselines["random"] = compare.at_random()
    joined = {
        name: compare.with_score(-joint_score(scores, each))
        for name, each in numbers.items()
        if name in PROXIES or name == prior
    }
    found = compare.score
    tau = found.kendall_tau
    picture = run.path / PICTURE
    title = f"τ = {tau.value:.3f} [{tau.low:.3f}, {tau.high:.3f}], n = {len(known)}"
    drawn = scatter(scores, real, title=title, x=f"SMASH score: {scored_on}", y=truth)
    write_atomically(picture, drawn.encode())
    trust = Trust(
        n=len(known),
        score=found,
        baselines=baselines,
        together=joined,
        prior=prior,
        truth=truth,
        scored_on=scored_on,
        points=[
            (one.id, float(score), one.truth) for one, score in zip(known, scores, strict=True)
        ],
        picture=picture,
    )
    points = [
        (name, score if math.isfinite(score) else None, real) for name, score, real in trust.points
    ]
    write_json(run.path / FOUND, {**trust.as_json(), "picture": PICTURE, "points": points})
    return trust
