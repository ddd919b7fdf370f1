"""Comparison of a run's ranking with real accuracies, beside the rankings of baselines.

Measurements are kept in ``RUN/trust.jsonl``; the latest result is ``RUN/trust.json``, for the
report, and ``RUN/trust.svg``, a scatter plot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from smash.config import ChildSettings
from smash.correlation.ground_truth import (
    GroundTruth,
    part_of,
    read_columns,
    read_table,
    stratified_sample,
    train_sample,
)
from smash.correlation.settings import FEWEST, CorrelateSettings
from smash.correlation.stages import (
    LOOKS,
    TrainingClock,
    agrees_beyond_chance,
    choose_epochs,
    spread_over_ranks,
)
from smash.correlation.statistics import RankComparison
from smash.errors import InvalidValueError
from smash.io.files import write_atomically
from smash.io.measurements import MeasurementLog, measurement_kind
from smash.reporting.charts import Point, Scale, point_chart
from smash.reporting.svg import Frame
from smash.run.child_folder import settings_of_weights
from smash.run.layout import AUDIT, FOUND, MEASUREMENTS, PICTURE, network_digest
from smash.run.run import Run
from smash.run.trust import RankCorrelation, ScoredAccuracy, Trust
from smash.runtime.device import choose_device
from smash.runtime.executor import Executor
from smash.runtime.progress import Announce, Progress, automatic
from smash.scoring.priors import (
    NO_PRIOR,
    ProxyValues,
    adjusted_scores,
    check_effects,
    choose_prior,
    joint_score,
    proxies_of,
    proxy_score,
    smooths,
)
from smash.scoring.proxies import PROXIES
from smash.scoring.proxy_names import SIZE_PROXIES
from smash.scoring.proxy_values import measure_proxy
from smash.scoring.rank_aggregation import Floats
from smash.scoring.score import SCORED_EXAMPLES, RankBy
from smash.scoring.scorer import CALIBRATION_EXAMPLES, Scorer
from smash.study.candidate import Candidate
from smash.study.study import Study
from smash.training.workers import open_trainer


def correlate(
    run: Run | str | Path,
    settings: CorrelateSettings | None = None,
    *,
    progress: Progress = automatic,
    announce: Announce | None = None,
    **changes: Any,
) -> Trust:
    """Computes the rank correlation of a run's scores with real accuracies.

    These are read from a table, or found by training a sample of candidates: a fixed number, or
    until agreement is shown (`smash.correlation.stages`). What an earlier or interrupted call
    measured or trained is not computed again.

    Args:
        run: A run, or its folder, whose training has finished; to train a sample, one with ranked
            candidates.
        settings: The settings.
        progress: Shows progress.
        announce: Called with lines on what `minutes` allow, and on why trainings ended.
        **changes: Fields of `CorrelateSettings`, which replace those of `settings`.

    Returns:
        The rank correlations, which are also kept in the run.

    Raises:
        InvalidValueError: A setting is wrong.
        NotFoundError: The table, or a candidate, does not exist.
        DataError: The table is wrong.
        RunStateError: Training has not finished, or a file is damaged.

    Example:
        >>> trust = correlate("runs/digits", train=3, epochs=1)
        >>> trust.n, -1 <= trust.kendall_tau.value <= 1
        (3, True)
    """
    run, settings = Run.of(run), CorrelateSettings.merged(settings, changes)
    if smooths(settings.prior):
        check_effects(settings.prior, run.space.smallest())  # before anything is scored or trained
    correlation = _Correlation(run, settings, progress, announce or (lambda lines: None))
    if settings.table is not None:
        return correlation.with_table(settings.table)
    return correlation.with_training()


class _Correlation:
    """A call of `correlate`: ground truth, scores, rank correlations, record."""

    def __init__(
        self,
        run: Run,
        settings: CorrelateSettings,
        progress: Progress,
        announce: Announce,
    ) -> None:
        self._run, self._settings, self._progress = run, settings, progress
        self._announce = announce
        self._device = choose_device(settings.device)
        self._measurements = MeasurementLog(run.path / MEASUREMENTS)
        self._searched: dict[str, tuple[Any, float]] = {}

    def with_table(self, table: Path) -> Trust:
        """Compares with the accuracies of a table."""
        run, settings = self._run, self._settings
        column = str(settings.column)
        read_columns(table, column)  # before the data of the run is loaded, which may take long
        known = part_of(
            read_table(table, column, run.space), run.space, settings.half, settings.limit
        )
        if len(known) < FEWEST:
            raise InvalidValueError(
                f"a part of a table must have at least {FEWEST} architectures to rank, got "
                f"{len(known)}: add rows"
            )
        rank_by = settings.rank_by or "loss"
        scorer = self._scorer(examples=settings.examples or SCORED_EXAMPLES)
        scores = self._scores(known, rank_by, scorer)
        half = f", {settings.half} half" if settings.half else ""
        return self._record(
            known,
            scores,
            prior=choose_prior(settings.prior, run.space.name),
            truth=f"column {column} of {table.name}{half}",
            score=f"{rank_by} on {len(scorer.labels):,} val examples",
            rank_by=rank_by,
        )

    def with_training(self) -> Trust:
        """Compares with the accuracies of candidates that are trained from scratch."""
        run, settings = self._run, self._settings
        study = Study(run.study_path)
        search, ranked = study.settings or {}, study.ranked()
        if len(ranked) < FEWEST:
            raise InvalidValueError(
                f"a ranking must have at least {FEWEST} candidates to be compared, got "
                f"{len(ranked)}: search for more"
            )
        rank_by = settings.rank_by or search.get("rank_by", "loss")
        prior = choose_prior(settings.prior or search.get("prior") or NO_PRIOR, run.space.name)
        if smooths(prior):  # effects are those of all candidates
            self._searched = {
                each.id: (each.architecture, getattr(each, rank_by))
                for each in ranked
                if not each.partial
            }
        child = settings.child.replaced(minutes=None)
        with open_trainer(run, settings, ranked[0].macs) as executor:
            if settings.minutes is None:
                sample = stratified_sample(ranked, int(settings.train or 0))
                known = self._train(sample, child, executor)
            else:
                clock = TrainingClock(settings.minutes)
                ordered = spread_over_ranks(ranked)[: settings.train]
                child = child.replaced(epochs=self._epochs(ordered, child, settings.minutes))

                def agrees(known: Sequence[GroundTruth]) -> bool:
                    scores = self._full_scores(ordered[: len(known)], known, search, rank_by)
                    ranking = np.array(scores)
                    if prior is not None:
                        ranking = self._joined(prior, ranking, known)
                    return agrees_beyond_chance(-ranking, [each.accuracy for each in known])

                known = self._train_until(ordered, child, clock, agrees, executor)
                sample = ordered[: len(known)]
        most = max(candidate.examples for candidate in ranked)
        return self._record(
            known,
            self._full_scores(sample, known, search, rank_by),
            prior=prior,
            truth=f"accuracy on the {AUDIT} split after {child.length_in_words}",
            score=f"{rank_by} on {most:,} {sample[0].split} examples",
            rank_by=rank_by,
        )

    def _train(
        self, sample: Sequence[Candidate], child: ChildSettings, executor: Executor
    ) -> list[GroundTruth]:
        device = self._settings.device
        return train_sample(self._run, sample, child, device, self._progress, executor)

    def _epochs(self, sample: Sequence[Candidate], child: ChildSettings, minutes: float) -> int:
        """Gives the epochs of each training: as told, or as an earlier call chose, or by timing."""
        if "epochs" in self._settings.given():
            return child.epochs
        timed = settings_of_weights(child) | {"minutes": minutes, "device": self._device.type}
        del timed["epochs"]
        kind = measurement_kind("epochs", **timed)
        known = self._measurements.get(kind, AUDIT)
        if known is None:
            middle = sorted(sample, key=lambda each: each.macs)[len(sample) // 2]
            epochs = choose_epochs(self._run, middle, child, minutes, self._device)
            known = {"epochs": float(epochs)}
            self._measurements.add(kind, AUDIT, known)
            self._measurements.flush()
        return round(known["epochs"])

    def _train_until(
        self,
        ordered: Sequence[Candidate],
        child: ChildSettings,
        clock: TrainingClock,
        agrees: Callable[[Sequence[GroundTruth]], bool],
        executor: Executor,
    ) -> list[GroundTruth]:
        """Trains candidates until their ranking is shown to agree, or the time is over."""
        length, most = child.length_in_words, self._settings.minutes
        self._announce([f"trains candidates for {length} each, for {most:g} minutes at most"])
        known: list[GroundTruth] = []
        while len(known) < len(ordered):
            # As many as are trained at once, to keep to the time, and no more than the next look.
            look = next((look for look in LOOKS if look > len(known)), len(ordered))
            ends = int(min(look, len(known) + executor.slots))
            known += self._train(ordered[len(known) : ends], child, executor)
            in_time = clock.record_training()
            count = f"{len(known)} trained networks"
            if len(known) in LOOKS and agrees(known):
                self._announce([f"the ranking agrees with {count} beyond chance"])
                break
            if len(known) >= FEWEST and not in_time:
                self._announce([f"the time is over after {count}"])
                break
        return known

    def _scorer(self, **options: Any) -> Scorer:
        run, device = self._run, self._device
        data, snapshots = run.search_data.to(device), run.snapshots(device)
        return Scorer(run.network(device), data, snapshots=snapshots, **options)

    def _scores(self, known: Sequence[GroundTruth], rank_by: RankBy, scorer: Scorer) -> list[float]:
        """Computes SMASH scores, lower is better, except those that were measured before."""
        kind = measurement_kind(
            "score",
            network=network_digest(self._run.path),
            examples=len(scorer.labels),
            calibration=CALIBRATION_EXAMPLES,
            order="fair",
            snapshots="mean loss",
            split=scorer.split,
            precision=scorer.precision,
        )

        def measure(architecture: Any) -> Mapping[str, float]:
            score = scorer(architecture)
            return {name: getattr(score, name) for name in get_args(RankBy)}

        rows = self._measurements.measure(kind, _pairs(known), measure, self._progress)
        return [row[rank_by] for row in rows]

    def _full_scores(
        self,
        sample: Sequence[Candidate],
        known: Sequence[GroundTruth],
        search: Mapping[str, Any],
        rank_by: RankBy,
    ) -> list[float]:
        """Gives the scores of candidates on all examples; the race may have dropped some before."""
        scores: dict[str, float] = {each.id: getattr(each, rank_by) for each in sample}
        partial = [truth for each, truth in zip(sample, known, strict=True) if each.partial]
        if partial:
            options = {name: search[name] for name in ("examples", "split", "precision")}
            found = self._scores(partial, rank_by, self._scorer(**options))
            scores |= {each.id: score for each, score in zip(partial, found, strict=True)}
        return [scores[each.id] for each in sample]

    def _record(
        self,
        known: Sequence[GroundTruth],
        scores: Sequence[float],
        *,
        prior: str | None,
        truth: str,
        score: str,
        rank_by: RankBy,
    ) -> Trust:
        """Computes and keeps the rank correlations of the score and of the other rankings."""
        accuracies = np.array([each.accuracy for each in known])
        sign = -1 if self._settings.lower_is_better else 1
        of_score, baselines, together = self._correlations(
            known, np.array(scores), sign * accuracies, prior
        )
        trust = Trust(
            **dict(of_score),
            n=len(known),
            truth=truth,
            score=score,
            rank_by=rank_by,
            baselines=baselines,
            together=together,
            prior=prior,
            points=[
                ScoredAccuracy(id=each.id, score=value, accuracy=each.accuracy)
                for each, value in zip(known, scores, strict=True)
            ],
        )
        write_atomically(self._run.path / PICTURE, draw(trust).encode())
        trust.write(self._run.path / FOUND)
        return trust

    def _correlations(
        self, known: Sequence[GroundTruth], scores: Floats, truth: Floats, prior: str | None
    ) -> tuple[RankCorrelation, dict[str, RankCorrelation], dict[str, RankCorrelation]]:
        """Compares the score alone, other rankings alone, and both together."""
        names = dict.fromkeys([*SIZE_PROXIES, *self._settings.proxies, *([prior] if prior else [])])
        values = {name: self._proxy_values(name, known) for name in names}
        params = proxy_score("params", values["params"])
        comparison = RankComparison(truth, -scores, params)
        alone = {
            proxies: comparison.with_score(proxy_score(name, values[name]))
            for name in names
            if (proxies := proxies_of(name))  # the rest of a prior ranks nothing by itself
        }
        together = {
            name: comparison.with_score(-self._joined(name, scores, known))
            for name in names
            if name in PROXIES or name == prior
        }
        return comparison.score, alone | {"random": comparison.at_random()}, together

    def _joined(self, prior: str, scores: Floats, known: Sequence[GroundTruth]) -> Floats:
        """Joins scores and a prior; lower is better.

        Effects that smooth scores are those of all candidates of the search, as in its ranking.
        """
        own = {each.id for each in known}
        others = [pair for name, pair in self._searched.items() if name not in own]
        architectures = [each.architecture for each in known] + [pair[0] for pair in others]
        every = np.concatenate([scores, [pair[1] for pair in others]])
        adjusted = adjusted_scores(prior, every, architectures)[: len(known)]
        return joint_score(prior, adjusted, self._proxy_values(prior, known))

    def _proxy_values(self, name: str, known: Sequence[GroundTruth]) -> list[ProxyValues]:
        return measure_proxy(
            self._run, name, _pairs(known), self._measurements, self._device, self._progress
        )


def draw(trust: Trust) -> str:
    """Draws scores and real accuracies as an SVG file."""
    shown = [point for point in trust.points if point.has_score]
    frame = Frame(width=640, height=480, top=62, left=76)
    chart = point_chart(
        [Point(x=point.score, y=point.accuracy, number=None) for point in shown],
        Scale(name=f"SMASH score: {trust.score}"),
        Scale(name=trust.truth),
        "Real accuracy against SMASH score.",
        frame=frame,
        interactive=False,
    )
    tau, missing = trust.kendall_tau, trust.n - len(shown)
    title = f"τ = {tau.value:.3f} [{tau.low:.3f}, {tau.high:.3f}], n = {trust.n}"
    return frame.file(
        chart, title + f" ({missing} without a score)" * bool(missing), f"against {trust.truth}"
    )


def _pairs(known: Sequence[GroundTruth]) -> list[tuple[str, Any]]:
    return [(each.id, each.architecture) for each in known]
