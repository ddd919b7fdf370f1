"""Racing: candidates that can no longer be among the best few are dropped before all is scored.

A cohort of candidates sees growing nested parts of the validation examples, the same for all, each
part doubling what was seen. After each part, two rules say who goes on:

*Surely worse.* A candidate is out if its score on all examples is, with confidence, above that of
the worst of the leaders, the best few of earlier cohorts. (Maron and Moore 1994.) Its score on all
examples is estimated from those it has seen as what is known for sure, the leaders' mean loss on
all examples, plus its mean difference from the leaders example by example: all candidates find the
same examples hard, so these differences vary far less than losses (a difference estimator; paired
comparisons as in Moore and Lee 1994). The bound is Student's, with the correction for drawing
without replacement from finitely many examples, and with the stated error shared out among the
parts (Bonferroni). So a candidate that belongs to the best few is dropped by this rule with
probability 1 − confidence at most. The bound of Bernstein, which assumes no distribution, needs
losses that are bounded and is several times as wide at a hundred examples: it would save nothing.

*Too many.* Where candidates differ by less than the noise, nobody is surely worse, and a race would
cost as much as no race. So of a cohort at most `SHARE` goes on, those that have done best so far,
and besides whoever is among the best few of cohort and leaders together (sequential halving:
Karnin, Koren and Somekh 2013). This rule bounds the cost, and no probability is stated for it: what
it loses are candidates that differ from those it keeps by little (measured in
benchmarks/notes/strategies.md).

Who goes on after a part is decided when all of the cohort have seen it, and depends on earlier
cohorts and on these parts alone: not on who was scored first, where, or how often the search was
interrupted. What a candidate was scored on before it settled is in the study; so a race that is
taken up again knows how its settled candidates did, and runs the others anew to the same end.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from smash.runtime.device import main_memory
from smash.scoring.rank_aggregation import Floats

KEEP = 10
CONFIDENCE = 0.95
SHARE = 1 / 3
# Of states of children that wait for the next part; the share is that of the process's memory.
_MOST_BYTES = 2**30
_MOST_SHARE = 1 / 16

Promise = Callable[[], Tensor]
"""Gives predictions, once they are computed."""

Order = Callable[[Floats, Sequence[Sequence[float]]], Floats]
"""Gives what ranks, lower is better, from the scores of several candidates and their proxies."""


def by_score(scores: Floats, proxies: Sequence[Sequence[float]]) -> Floats:
    """Ranks by the score alone."""
    return scores


@dataclass(kw_only=True)
class Entrant:
    """A candidate on its way through a race.

    Attributes:
        parts: Gives promises of predictions part by part, from the part of that number on. All of a
            cohort are asked for a part before the first is waited for, so that several machines
            can be at it.
        size: Bytes of the state that is kept for the parts to come.
        proxy: What a proxy says of it, where the search has a prior.
        trace: The mean of what ranks after each part it has seen.
        settled: Whether it will see no more.
        seen: Predictions of each part.
        values: What ranks for each example it has seen, (examples,).
    """

    parts: Callable[[int], Iterator[Promise]] = lambda first: iter(())
    size: int = 0
    proxy: Sequence[float] = ()
    trace: list[float] = field(default_factory=list)
    settled: bool = False
    seen: list[Tensor] = field(default_factory=list)
    values: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))


@dataclass(frozen=True, kw_only=True)
class Leader:
    """One of the best few of earlier cohorts.

    Attributes:
        values: What ranks for each of all examples, (examples,), float64.
        proxy: What a proxy says of it, where the search has a prior.
    """

    values: Tensor
    proxy: Sequence[float] = ()


class Judge(Protocol):
    """Gives what ranks, lower is better, for each example; see `Scorer.each`."""

    def __call__(self, predicted: Tensor, begin: int) -> Tensor:
        """Judges predictions of the examples from number `begin` on."""
        ...


class Race:
    """Says who goes on, and lets a cohort race.

    Args:
        rungs: Examples that have been seen after each part; the last is all.
        keep: How many the best few are.
        confidence: That one of the best few is not dropped as surely worse, 0…1.
        share: Of a cohort, at most this goes on after a part.
        order: What ranks; with a prior the score alone cannot say who is surely worse.
    """

    def __init__(
        self,
        rungs: Sequence[int],
        keep: int = KEEP,
        confidence: float = CONFIDENCE,
        share: float = SHARE,
        order: Order = by_score,
    ) -> None:
        self.rungs, self.keep = list(rungs), keep
        looks = max(1, len(rungs) - 1)  # after the last part nothing is left to save
        self._error = (1 - confidence) / looks
        self._share, self._order = share, order

    def run(
        self,
        entrants: Sequence[Entrant],
        leaders: Sequence[Leader],
        judge: Judge,
        settle: Callable[[Entrant], None],
        working: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Runs a cohort until all of it are settled.

        Args:
            entrants: The cohort; some may have settled when this race ran before.
            leaders: The best few of earlier cohorts.
            judge: Gives what ranks, for each example.
            settle: Called with each that is dropped or has seen all, once that is known.
            working: Is entered for each long piece of work, which changes nothing that is kept.
        """
        waiting = _Waiting()
        for number, end in enumerate(self.rungs):
            running = [one for one in entrants if not one.settled]
            promises = deque(waiting.next_part(one, number) for one in running)
            for one in running:
                promise = promises.popleft()  # and with it what it holds on to
                with working():
                    predicted = promise()
                values = judge(predicted, len(one.values)).double()
                one.seen.append(predicted)
                one.values = torch.cat([one.values.to(values.device), values])
                one.trace.append(one.values.mean().item())
                if end == self.rungs[-1]:
                    one.settled = True
                    waiting.forget(one)
                    settle(one)
            if end == self.rungs[-1]:
                return
            here = [one for one in entrants if len(one.trace) > number]
            stays = self.stays(here, leaders, number)
            for one, stay in zip(here, stays, strict=True):
                if not stay and not one.settled:
                    one.settled = True
                    waiting.forget(one)
                    settle(one)

    def stays(self, here: Sequence[Entrant], leaders: Sequence[Leader], number: int) -> list[bool]:
        """Who goes on after a part.

        Args:
            here: Those of the cohort that have seen it, some of whom went on in an earlier run.
            leaders: The best few of earlier cohorts.
            number: Which part it was.
        """
        end = self.rungs[number]
        theirs = [leader.values[:end].mean().item() for leader in leaders]
        scores = np.array([one.trace[number] for one in here] + theirs)
        proxies = [one.proxy for one in here] + [leader.proxy for leader in leaders]
        keys = self._order(scores, proxies)
        keys = np.where(np.isnan(keys), np.inf, keys)
        own = keys[: len(here)]
        places = np.argsort(np.argsort(own, kind="stable"), kind="stable")
        quota = math.ceil(self._share * len(here))
        better = (keys[None] < own[:, None]).sum(1)
        stays = (places < quota) | (better < self.keep)
        return [
            bool(stay) and (one.settled or not self.is_out(one.values, leaders))
            for one, stay in zip(here, stays, strict=True)
        ]

    def is_out(self, values: Tensor, leaders: Sequence[Leader]) -> bool:
        """Whether a candidate is surely worse than each of the leaders.

        Args:
            values: What ranks for each example it has seen, (examples,).
            leaders: The best few of earlier cohorts; fewer than `keep` keep everyone.
        """
        if len(leaders) < self.keep or self._order is not by_score:
            return False
        theirs = torch.stack([leader.values for leader in leaders]).to(values.device)
        count, total = len(values), theirs.shape[1]
        mean = theirs.mean(0)
        apart = values - mean[:count]
        estimate = apart.mean() + mean.mean()
        unseen = math.sqrt(1 - count / total)
        error = apart.std().item() / math.sqrt(count) * unseen
        bound = float(stats.t.isf(self._error, count - 1))
        return (estimate - theirs.mean(1).max()).item() > bound * error


class _Waiting:
    """States of children that wait for the next part, as many as fit in the memory.

    A state that did not fit is computed again when it is needed, to the same values.
    """

    def __init__(self) -> None:
        self._parts: dict[int, tuple[Iterator[Promise], int]] = {}
        self._limit = min(_MOST_BYTES, (main_memory() or math.inf) * _MOST_SHARE)

    def next_part(self, one: Entrant, number: int) -> Promise:
        """Asks for the part of that number."""
        parts, _ = self._parts.get(id(one), (None, 0))
        if parts is None:
            parts = one.parts(number)
        promise = next(parts)
        held = sum(size for key, (_, size) in self._parts.items() if key != id(one))
        if held + one.size <= self._limit:
            self._parts[id(one)] = parts, one.size
        return promise

    def forget(self, one: Entrant) -> None:
        """Lets go of the state of one that has settled."""
        self._parts.pop(id(one), None)
