"""The loop of a search: cohort by cohort, propose, race, and commit each score.

A cohort is the proposals of one strategy with consecutive numbers. All of it is proposed on what
was scored before, then it races, and what has settled is committed at once. A search that is
taken up again finds what has settled in the study, proposes the others anew, to the same
architectures, and lets them race on: so a kill changes nothing of what comes out.

On a server several searches work at one study. Each claims a cohort that nobody else has, and where
there is none waits for those that have: a strategy begins when the one before it is done. Whose
cohort was committed first, it finds in its history; so the order of things is not repeatable.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smash.hypernet.smash_network import State
from smash.io.measurements import MeasurementLog
from smash.profiling.latency import Stopwatch
from smash.run.layout import ENSEMBLE, LATENCIES, MEASUREMENTS
from smash.run.run import Run
from smash.runtime.executor import Executor, Future
from smash.runtime.progress import Advance
from smash.runtime.signals import Interruption
from smash.scoring.measure import measure_proxy
from smash.scoring.priors import Prefilter, ProxyValues, joint_score
from smash.scoring.scorer import Scorer
from smash.searching.ensemble import Ensemble
from smash.searching.objectives import values
from smash.searching.proposals import Proposal, Proposer
from smash.searching.racing import Entrant, Leader, Promise, Race, by_score
from smash.searching.strategies import RandomSampling, Scored, Strategy
from smash.study.study import Candidate, Study

_BYTES = 4  # of a parameter
_SHARE = 25  # most proposals of a cohort where others wait for work
_PAUSE = 0.2  # seconds, until it is seen again whether another search has let go of a cohort


class Loop:
    """Extends a study by proposals of one strategy after the other.

    Args:
        run: The run.
        study: Its study.
        scorer: Scores candidates.
        proposer: Asks strategies for architectures.
        keep: How many the best few are that a race tells apart; None for full scores of all.
        prior: The croxy that joins the score in the ranking, if any.
        prefilter: Which random architectures are scored at all; None for all of them.
        executor: Scores candidates.
        device: Where proxies are computed, and latencies are measured.
        objectives: Several objectives that strategies weigh; empty for the score alone.
    """

    def __init__(
        self,
        run: Run,
        study: Study,
        scorer: Scorer,
        proposer: Proposer,
        keep: int | None,
        prior: str | None,
        prefilter: Prefilter | None,
        executor: Executor,
        device: torch.device,
        objectives: Sequence[str] = (),
    ) -> None:
        self._objectives = objectives
        self._run, self._study, self._scorer, self._proposer = run, study, scorer, proposer
        self._keep, self._prior, self._prefilter, self._device = keep, prior, prefilter, device
        self._executor, self._far_scorer = executor, executor.scatter(scorer)
        self._order = by_score if prior is None else joint_score
        self._measurements = MeasurementLog(run.path / MEASUREMENTS)
        times = MeasurementLog(run.path / LATENCIES)
        self._stopwatch = Stopwatch(run.space, run.data.task, device, times)
        self.candidates: list[Candidate] = []
        self._known: set[str] = set()  # their ids
        self._history: list[Scored[Any]] = []
        self._by_number: dict[tuple[str, int], Candidate] = {}
        self._least = math.inf
        self._take_in(study.candidates())
        full = [
            (one.id, scored.architecture)
            for one, scored in zip(self.candidates, self._history, strict=True)
            # What other searches score is not predicted here again.
            if not one.partial and not study.shared
        ]
        self.ensemble = Ensemble(
            None if study.shared else run.path / ENSEMBLE,
            scorer.labels,
            [identity for identity, _ in full],
        )
        for identity, architecture in full[self.ensemble.count :]:
            self.ensemble.add(identity, scorer.predict(architecture))
        self._values: dict[str, Tensor] = {}  # what ranks, for each example, of full scores

    def missing(self, strategy: Strategy[Any], count: int) -> int:
        """How many candidates are to be added for `count` proposals of a strategy."""
        there = sum(one.strategy == strategy.name for one in self.candidates)
        wanted = sum(self._wanted(strategy, len(drawn)) for drawn in self._cohorts(strategy, count))
        return max(0, wanted - there)

    def extend(
        self, strategy: Strategy[Any], count: int, advance: Advance, interruption: Interruption
    ) -> None:
        """Adds candidates until those of `count` proposals of a strategy are there."""
        cohorts = list(self._cohorts(strategy, count))
        while open_ := [drawn for drawn in cohorts if self._is_open(strategy, drawn)]:
            idle = True
            for drawn in open_:
                with self._study.claim(f"{strategy.name} {drawn.start}") as mine:
                    if not mine:
                        continue
                    idle = False
                    self._catch_up()
                    if not self._settle(strategy, drawn, advance, interruption):
                        return
            if idle:
                with interruption.at_once():
                    time.sleep(_PAUSE)
            self._catch_up()

    def _is_open(self, strategy: Strategy[Any], drawn: range) -> bool:
        """Whether candidates of a cohort are missing."""
        return len(self._settled(strategy, drawn)) < self._wanted(strategy, len(drawn))

    def _settled(self, strategy: Strategy[Any], drawn: range) -> list[Candidate]:
        numbers = [(strategy.name, index) for index in drawn]
        return [self._by_number[number] for number in numbers if number in self._by_number]

    def _settle(
        self, strategy: Strategy[Any], drawn: range, advance: Advance, interruption: Interruption
    ) -> bool:
        """Adds what is missing of a cohort; False where the space has no more."""
        settled = self._settled(strategy, drawn)
        wanted = self._wanted(strategy, len(drawn))
        if len(settled) >= wanted:
            return True
        own = {one.id for one in settled}
        before = [
            pair
            for pair in zip(self.candidates, self._history, strict=True)
            if pair[0].id not in own
        ]
        with interruption.at_once():
            proposals = self._propose(strategy, drawn, [scored for _, scored in before])
            exhausted = len(proposals) + len(settled) < len(drawn)
            proposals = self._filtered(strategy, proposals, settled, wanted, advance)
        self._race(strategy, proposals, settled, before, advance, interruption)
        interruption.check()
        return not exhausted

    def _catch_up(self) -> None:
        """Takes in what other searches have committed."""
        if self._study.shared:
            self._take_in(self._study.candidates())

    def _take_in(self, candidates: Sequence[Candidate]) -> None:
        for one in candidates:
            if one.id not in self._known:
                self._known.add(one.id)
                self.candidates.append(one)
                self._by_number[one.strategy, one.index] = one
                self._history.append(self._scored(one))
                self._least = min(self._least, self._history[-1].value)

    def _cohorts(self, strategy: Strategy[Any], count: int) -> Iterator[range]:
        """ProxyValues of the proposals of each cohort."""
        prefilter = self._filter_of(strategy)
        size = min(strategy.cohort, _SHARE) if self._study.shared else strategy.cohort
        if prefilter is not None:  # so that as many are scored
            size = round(size / prefilter.share)
        for begin in range(0, count, size):
            yield range(begin, min(begin + size, count))

    def _wanted(self, strategy: Strategy[Any], drawn: int) -> int:
        """How many of so many proposals are scored."""
        prefilter = self._filter_of(strategy)
        return drawn if prefilter is None else prefilter.quota(drawn)

    def _filter_of(self, strategy: Strategy[Any]) -> Prefilter | None:
        """The prefilter is for what is drawn at random; changes of the best are good already."""
        return self._prefilter if strategy.name == RandomSampling.name else None

    def _propose(
        self, strategy: Strategy[Any], drawn: range, history: Sequence[Scored[Any]]
    ) -> list[Proposal]:
        """Those of a cohort that have not settled; fewer where the space has no more."""
        seen = set(self._known)
        proposals: list[Proposal] = []
        for index in drawn:
            if (strategy.name, index) in self._by_number:
                continue
            proposal = self._proposer.propose(strategy, history, index, seen)
            if proposal is None:
                break
            seen.add(proposal.id)
            proposals.append(proposal)
        return proposals

    def _filtered(
        self,
        strategy: Strategy[Any],
        proposals: list[Proposal],
        settled: Sequence[Candidate],
        wanted: int,
        advance: Advance,
    ) -> list[Proposal]:
        """Those proposals that are among the best of the cohort by the prefilter."""
        prefilter = self._filter_of(strategy)
        if prefilter is None:
            return proposals
        # Those that have settled are ranked too: a croxy's ranks depend on who is ranked.
        from_json = self._run.space.from_json
        cohort = {one.index: (one.id, from_json(one.architecture)) for one in settled}
        cohort |= {one.index: (one.id, one.architecture) for one in proposals}
        drawn = sorted(cohort)
        numbers = self._numbers(prefilter.proxy, [cohort[index] for index in drawn], advance)
        best = {drawn[position] for position in prefilter.order(numbers)[:wanted]}
        return [one for one in proposals if one.index in best]

    def _numbers(
        self, croxy: str, pairs: Sequence[tuple[str, Any]], advance: Advance
    ) -> list[ProxyValues]:
        """What a croxy says of architectures, each with its id."""

        @contextmanager
        def shown(label: str, total: int) -> Iterator[Advance]:
            there = len(self.candidates)
            yield lambda done, _: advance(there, f"{label} of {done}/{total} proposals")

        return measure_proxy(
            self._run, croxy, pairs, self._measurements, self._device, shown, self._scorer.network
        )

    def _race(
        self,
        strategy: Strategy[Any],
        proposals: Sequence[Proposal],
        settled: Sequence[Candidate],
        before: Sequence[tuple[Candidate, Scored[Any]]],
        advance: Advance,
        interruption: Interruption,
    ) -> None:
        """Scores a cohort and commits each of its candidates when it has settled."""
        rungs = self._scorer.rungs if self._keep else self._scorer.rungs[-1:]
        # A chain asks of each step whether it is better than where it is: than the best.
        keep = 1 if strategy.cohort == 1 else self._keep or 1
        race = Race(rungs, keep, order=self._order)
        leaders = self._leaders(before, keep) if len(rungs) > 1 else []
        proxies: Sequence[ProxyValues] = [()] * len(proposals)
        if self._prior:
            with interruption.at_once():
                pairs = [(one.id, one.architecture) for one in proposals]
                proxies = self._numbers(self._prior, pairs, advance)
        running = {
            one.index: Entrant(
                parts=partial(self._parts, one.architecture),
                size=one.cost.params * self._scorer.states * _BYTES,
                proxy=proxy,
            )
            for one, proxy in zip(proposals, proxies, strict=True)
        }
        done = {one.index: self._returning(one, rungs) for one in settled}
        entrants = {index: done.get(index) or running[index] for index in sorted(running | done)}
        of = {id(running[one.index]): one for one in proposals}

        def settle(one: Entrant) -> None:
            candidate = self._commit(of[id(one)], one, rungs)
            if not candidate.partial and len(rungs) > 1:
                self._values[candidate.id] = one.values
            advance(len(self.candidates), f"{strategy.name}, best {self._least:.4f}")

        def working() -> AbstractContextManager[None]:
            return interruption.at_once()

        race.run(list(entrants.values()), leaders, self._scorer.each, settle, working)

    def _parts(self, architecture: Any, first: int) -> Iterator[Promise]:
        """Promises of predictions part by part, all in one part where there is no race."""
        submit, scorer = self._executor.submit, self._far_scorer
        if not self._keep:
            yield partial(self._received, submit(_predict, scorer, architecture))
            return
        states = submit(_states, scorer, architecture)
        for number in range(first, len(self._scorer.rungs)):
            future = submit(_predict_part, scorer, architecture, states, number)
            yield partial(self._received, future)

    def _received(self, future: Future[Tensor]) -> Tensor:
        return future.result().to(self._device)

    def _returning(self, one: Candidate, rungs: Sequence[int]) -> Entrant:
        """A candidate that settled when this race ran before."""
        trace = [one.trace[end] for end in rungs if end in one.trace]
        return Entrant(proxy=one.proxy, trace=trace, settled=True)

    def _leaders(self, before: Sequence[tuple[Candidate, Scored[Any]]], keep: int) -> list[Leader]:
        """The best few of earlier cohorts, the first of equals."""
        full = [pair for pair in before if not pair[0].partial]
        scores = np.array([one.value for one, _ in full])
        keys = self._order(scores, [one.proxy for one, _ in full])
        best = [full[position] for position in np.argsort(keys, kind="stable")[:keep]]
        self._values = {one.id: self._values_of(one.id, scored) for one, scored in best}
        return [Leader(values=self._values[one.id], proxy=one.proxy) for one, _ in best]

    def _values_of(self, identity: str, scored: Scored[Any]) -> Tensor:
        """What ranks, for each example; computed again where another process scored it."""
        if identity in self._values:
            return self._values[identity]
        values: list[Tensor] = []
        begin = 0
        for predicted in self._scorer.predict_parts(scored.architecture):
            values.append(self._scorer.each(predicted, begin).double())
            begin += len(predicted)
        return torch.cat(values)

    def _commit(self, proposal: Proposal, one: Entrant, rungs: Sequence[int]) -> Candidate:
        predicted = torch.cat(one.seen)
        one.seen.clear()
        score = self._scorer.judge(predicted)
        partial_ = score.examples < len(self._scorer.labels)
        ensemble, space = self.ensemble, self._run.space
        candidate = Candidate(
            id=proposal.id,
            architecture=space.to_json(proposal.architecture),
            strategy=proposal.strategy,
            index=proposal.index,
            value=score.value,
            error=score.error,
            top5_error=score.top5_error,
            ensemble_error=ensemble.error() if partial_ else ensemble.add(proposal.id, predicted),
            loss=score.loss,
            split=score.split,
            examples=score.examples,
            params=proposal.cost.params,
            macs=proposal.cost.macs,
            partial=partial_,
            trace=dict(zip(rungs, one.trace, strict=False)) if len(rungs) > 1 else {},
            proxy=tuple(one.proxy),
            latency=self._latency(proposal),
        )
        self._catch_up()
        if candidate.id not in self._known:
            self._study.add(candidate, space.readable(proposal.architecture))
            ensemble.keep()
            # Of two in the same instant the study says which one counts.
            self._take_in(self._study.candidates() if self._study.shared else [candidate])
        return candidate

    def _latency(self, proposal: Proposal) -> float | None:
        if proposal.latency is not None or "latency" not in self._objectives:
            return proposal.latency
        return self._stopwatch(proposal.architecture)

    def _scored(self, candidate: Candidate) -> Scored[Any]:
        architecture = self._run.space.from_json(candidate.architecture)
        slope = cache(partial(self._scorer.slope, architecture))  # of one base, many are asked for
        # Who was dropped is worse than others by what is known, but by how much is not known.
        value = math.inf if candidate.partial else candidate.value
        weighed = values(candidate, self._objectives)
        return Scored(architecture, value, candidate.strategy, slope, candidate.index, weighed)


def _predict(scorer: Scorer, architecture: Any) -> Tensor:
    return scorer.predict(architecture)


def _states(scorer: Scorer, architecture: Any) -> list[State]:
    return scorer.states_of(architecture)


def _predict_part(scorer: Scorer, architecture: Any, states: list[State], number: int) -> Tensor:
    # Another machine may have computed the states.
    here = [{name: each.to(scorer.device) for name, each in one.items()} for one in states]
    return scorer.predict_part(architecture, here, number)
