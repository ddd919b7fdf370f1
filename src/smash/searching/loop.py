"""The loop of a search: cohort by cohort, propose, race and commit.

A cohort is a number of consecutive proposals of one strategy. All of it is proposed on what was
scored before. Then it races, and each candidate is committed the moment its race ends. A resumed
search finds in the study what has settled, proposes the others anew, to the same architectures, and
lets them race to the same end: so a kill changes no result.

On a server several searches extend one study. Each claims a cohort that no other has, and waits
where there is none: a strategy starts when the one before it has finished. The order of commits
then depends on timing, so it is not repeatable.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from smash.io.measurements import MeasurementLog
from smash.run.layout import ENSEMBLE, MEASUREMENTS
from smash.run.run import Run
from smash.runtime.executor import Executor
from smash.runtime.progress import Advance, Progress
from smash.runtime.signals import Interruption, Terminated
from smash.scoring.priors import Prefilter, ProxyValues, adjusted_scores, joint_score
from smash.scoring.proxy_values import measure_proxy
from smash.scoring.scorer import Scorer
from smash.searching.clock import Clock
from smash.searching.ensemble import Ensemble
from smash.searching.history import History
from smash.searching.predictions import Predictor
from smash.searching.proposals import Cohort, Proposer
from smash.searching.racing import Race, by_score
from smash.searching.settings import SearchSettings
from smash.searching.strategies import RandomSampling, Strategy
from smash.study.candidate import Candidate
from smash.study.study import Study

_SHARED_COHORT = 25  # most proposals of a cohort if other searches wait for work
_PAUSE = 0.2  # seconds until a search looks again whether another has released a cohort


class SearchLoop:
    """Extends a study by the proposals of one strategy after the other.

    Args:
        run: The run.
        study: Its study.
        scorer: Scores candidates.
        proposer: Asks strategies for architectures.
        settings: The resolved settings of the search.
        executor: Does the work of the scorer.
        interruption: Tells whether the user asked to stop.
        clock: Ends the search, between two cohorts; None lets it settle all that it should.
    """

    def __init__(
        self,
        run: Run,
        study: Study,
        scorer: Scorer,
        proposer: Proposer,
        settings: SearchSettings,
        executor: Executor,
        interruption: Interruption,
        clock: Clock | None = None,
    ) -> None:
        self._clock, self._timetable = clock, study.timetable
        self._run, self._study, self._scorer, self._proposer = run, study, scorer, proposer
        self._interruption = interruption
        self._advance: Advance = _show_nothing
        self._keep, self._prior = settings.keep, study.prior
        self._prefilter = Prefilter.parse(settings.prefilter) if settings.prefilter else None
        self._races = not settings.full and len(scorer.rungs) > 1
        self._predictor = Predictor(scorer, executor, interruption)
        self._measurements = MeasurementLog(run.path / MEASUREMENTS)
        self._history = History(study)
        with interruption.at_once():
            self._ensemble = self._restore_ensemble()

    def run(self, phases: Sequence[tuple[Strategy[Any], int]], progress: Progress) -> None:
        """Settles the candidates of all phases that have not settled yet.

        Args:
            phases: Strategies in their order, and the number of proposals of each; with a clock,
                how the time is shared among them.
            progress: Shows progress.
        """
        if self._clock is not None and not self._study.shared:
            self._run_by(self._clock, phases, progress)
            return
        total = len(self._history.candidates)
        for strategy, count in phases:
            quotas = sum(cohort.quota for cohort in self._cohorts(strategy, count))
            total += max(0, quotas - self._history.count(strategy.name))
        with progress("search", total) as self._advance:
            try:
                for strategy, count in phases:
                    self._extend(strategy, count)
            finally:
                self._ensemble.save()

    def _run_by(
        self, clock: Clock, phases: Sequence[tuple[Strategy[Any], int]], progress: Progress
    ) -> None:
        """Lets each strategy propose until its share of the time is over."""
        before, share = clock.timetable, 0.0
        whole = sum(count for _, count in phases)
        with progress("search, seconds", round(clock.seconds)) as self._advance:
            try:
                for strategy, count in phases:
                    share += count / whole
                    self._fill(clock, strategy, share)
            except (KeyboardInterrupt, Terminated):
                self._study.timetable = clock.pause()
                raise
            finally:
                self._ensemble.save()
        if clock.timetable != before:  # a search that is over changes nothing
            self._study.timetable = clock.close()

    def _fill(self, clock: Clock, strategy: Strategy[Any], share: float) -> None:
        """Settles cohorts until a share of the time has passed, the recorded ones in any case."""
        end = max(clock.timetable.stops.get(strategy.name, [0]))
        self._extend(strategy, end)
        most = self._cohort_size(strategy)
        while size := clock.size(strategy.name, share, most):
            end, begun = end + size, clock.spent
            self._study.timetable = self._timetable = clock.plan(strategy.name, end, most)
            (cohort,) = self._cohorts(strategy, end, begin=end - size)
            if not self._settle(cohort):
                return
            clock.take(strategy.name, size, clock.spent - begun)

    def _extend(self, strategy: Strategy[Any], count: int) -> None:
        """Settles the first `count` proposals of a strategy."""
        cohorts = list(self._cohorts(strategy, count))
        while unsettled := [each for each in cohorts if len(self._settled(each)) < each.quota]:
            if self._is_over():
                return
            works = False
            for cohort in unsettled:
                if len(self._settled(cohort)) >= cohort.quota:
                    continue  # by another search; a claim would cost a connection
                with self._study.claim(str(cohort)) as mine:
                    if not mine:
                        continue
                    if self._is_over():
                        return
                    works = True
                    self._history.refresh()
                    if not self._settle(cohort):
                        return
            if not works:
                with self._interruption.at_once():
                    time.sleep(_PAUSE)
            self._history.refresh()

    def _is_over(self) -> bool:
        """Tells whether this search of several leaves the rest to the others."""
        return self._study.shared and self._clock is not None and self._clock.is_over()

    def _settle(self, cohort: Cohort) -> bool:
        """Proposes a cohort, races it and commits it; returns whether the space has more."""
        settled = self._settled(cohort)
        if len(settled) >= cohort.quota:
            return True
        own = {candidate.id for candidate in settled}
        before = [each for each in self._history.candidates if each.id not in own]
        with self._interruption.at_once():
            self._join_prior(before)
            proposed = self._propose(cohort, before)
            exhausted = len(settled) + len(proposed) < len(cohort.indices)
            proposed = self._filter(cohort, proposed, settled)
            self._measure_prior(proposed)
        self._race(cohort, sorted([*settled, *proposed], key=lambda each: each.index), before)
        self._interruption.check()
        return not exhausted

    # Propose.

    def _filter_of(self, strategy: Strategy[Any]) -> Prefilter | None:
        # Only random architectures are filtered: mutations of the best are good already.
        return self._prefilter if strategy.name == RandomSampling.name else None

    def _cohort_size(self, strategy: Strategy[Any]) -> int:
        """Returns the number of proposals of a whole cohort."""
        size = min(strategy.cohort, _SHARED_COHORT) if self._study.shared else strategy.cohort
        prefilter = self._filter_of(strategy)
        # With a filter a cohort has as many candidates as without.
        return size if prefilter is None else round(size / prefilter.share)

    def _cohorts(self, strategy: Strategy[Any], count: int, begin: int = 0) -> Iterator[Cohort]:
        """Cuts the first `count` proposals of a strategy into cohorts, from one that begins."""
        size, prefilter = self._cohort_size(strategy), self._filter_of(strategy)
        for indices in self._timetable.cohorts(strategy.name, count, size):
            if indices.start >= begin:
                quota = prefilter.quota(len(indices)) if prefilter else len(indices)
                yield Cohort(strategy, indices, quota)

    def _settled(self, cohort: Cohort) -> list[Candidate]:
        return self._history.find(cohort.strategy.name, cohort.indices)

    def _join_prior(self, before: Sequence[Candidate]) -> None:
        """Ranks the candidates of earlier cohorts by score and prior, for strategies and races."""
        full = [candidate for candidate in before if not candidate.partial]
        if self._prior is None or not full:
            return
        scores = np.array([candidate.value for candidate in full])
        scores = adjusted_scores(self._prior, scores, [each.architecture for each in full])
        keys = joint_score(self._prior, scores, [candidate.proxy for candidate in full])
        for candidate, key in zip(full, keys.tolist(), strict=True):
            candidate.key = key

    def _propose(self, cohort: Cohort, before: Sequence[Candidate]) -> list[Candidate]:
        """Proposes what has not settled of a cohort; less if the space has no more."""
        settled = {candidate.index for candidate in self._settled(cohort)}
        missing = [index for index in cohort.indices if index not in settled]
        seen = set(self._history.ids)
        self._proposer.time_ahead(cohort.strategy, before, missing, seen)
        proposed: list[Candidate] = []
        for index in missing:
            candidate = self._proposer.propose(cohort.strategy, before, index, seen)
            if candidate is None:
                break
            seen.add(candidate.id)
            proposed.append(candidate)
        return proposed

    def _filter(
        self,
        cohort: Cohort,
        proposed: list[Candidate],
        settled: Sequence[Candidate],
    ) -> list[Candidate]:
        """Keeps the proposals that are among the best of their cohort by the prefilter."""
        if self._prefilter is None or cohort.quota == len(cohort.indices):
            return proposed
        # Settled candidates are ranked too: a proxy's ranks depend on who is ranked.
        ranked = sorted([*settled, *proposed], key=lambda each: each.index)
        values = self._measure(self._prefilter.proxy, ranked)
        best = {ranked[at].id for at in self._prefilter.sort(values)[: cohort.quota]}
        return [candidate for candidate in proposed if candidate.id in best]

    def _measure_prior(self, candidates: Sequence[Candidate]) -> None:
        if self._prior is not None:
            values = self._measure(self._prior, candidates)
            for candidate, proxy in zip(candidates, values, strict=True):
                candidate.proxy = proxy

    def _measure(self, proxy: str, candidates: Sequence[Candidate]) -> list[ProxyValues]:
        """Measures a proxy of candidates."""

        @contextmanager
        def progress(label: str, total: int) -> Iterator[Advance]:
            count = len(self._history.candidates)
            yield lambda done, _: self._advance(count, f"{label} of {done}/{total} proposals")

        pairs = [(candidate.id, candidate.architecture) for candidate in candidates]
        device, network = self._scorer.device, self._scorer.network
        log = self._measurements
        return measure_proxy(self._run, proxy, pairs, log, device, progress, network)

    # Race.

    def _race(
        self,
        cohort: Cohort,
        candidates: Sequence[Candidate],
        before: Sequence[Candidate],
    ) -> None:
        """Scores the candidates of a cohort; each is committed when its race ends."""
        # A Markov chain asks of each step whether it is better than its position, the best.
        keep = 1 if cohort.strategy.cohort == 1 else self._keep
        ranking_keys = by_score if self._prior is None else partial(joint_score, self._prior)
        if self._races:
            race = Race(self._scorer.rungs, keep, ranking_keys=ranking_keys)
            predict = self._predictor.predict
            with self._interruption.at_once():
                leaders = self._leaders(before, keep)
        else:
            race, predict = Race(self._scorer.rungs[-1:], keep), self._predictor.predict_all
            leaders = []
        race.run(candidates, leaders, predict, self._scorer.ranking_values, self._commit)

    def _leaders(self, before: Sequence[Candidate], keep: int) -> list[Candidate]:
        """Returns the best few candidates of earlier cohorts, with their ranking values."""
        full = [candidate for candidate in before if not candidate.partial]
        full.sort(key=lambda candidate: candidate.comparable_value)
        leaders = full[:keep]
        for candidate in full[keep:]:
            candidate.values = None
        for leader in leaders:
            if leader.values is None:  # an earlier search, or another process, scored it
                leader.values = self._ranking_values(leader)
        return leaders

    def _ranking_values(self, candidate: Candidate) -> torch.Tensor:
        predicted = self._scorer.predict(candidate.architecture)
        return self._scorer.ranking_values(predicted).double()

    # Commit.

    def _commit(self, candidate: Candidate) -> None:
        """Scores a candidate whose race has ended, and commits it to the study."""
        predicted = candidate.predicted
        assert predicted is not None  # noqa: S101 # it has raced
        candidate.score = self._scorer.score(predicted)
        candidate.partial = len(predicted) < len(self._scorer.labels)
        if not candidate.partial:
            self._ensemble.add(candidate.id, predicted)
        candidate.ensemble_error = self._ensemble.error()
        candidate.predicted = None
        if candidate.partial or not self._races:
            candidate.values = None
        self._predictor.release(candidate)
        self._history.commit(candidate)
        self._ensemble.save_sometimes()
        count, best = len(self._history.candidates), self._history.best
        found = f", best {best:.4f}" if math.isfinite(best) else ""
        if self._clock is not None:
            found, count = f", {count:,} candidates{found}", round(self._clock.spent)
        self._advance(count, f"{candidate.strategy}{found}")

    def _restore_ensemble(self) -> Ensemble:
        """Restores the ensemble of all candidates with full scores; others' are left out."""
        shared = self._study.shared
        full = [] if shared else [each for each in self._history.candidates if not each.partial]
        path = None if shared else self._run.path / ENSEMBLE
        ensemble = Ensemble(path, self._scorer.labels, [candidate.id for candidate in full])
        for candidate in full[ensemble.count :]:
            ensemble.add(candidate.id, self._scorer.predict(candidate.architecture))
        return ensemble


def _show_nothing(done: int, words: str) -> None:
    """Shows nothing: the search has not begun."""
