"""Racing: drops candidates that are not among the best few before they have seen all examples.

A cohort of candidates sees growing nested parts of the validation examples, the same for all; each
part, a *rung*, doubles the number of examples seen. The race of a candidate ends in one of three
ways (`Race.run`):

1. *It is surely worse* (`Race.is_surely_worse`; Maron and Moore 1994). Its score on all examples
   is, with confidence, above that of the worst leader; the leaders are the best few of earlier
   cohorts. Its score on all examples is estimated by a difference estimator: the leaders' mean on
   all examples, which is known, plus the mean difference from the leaders example by example. All
   candidates find the same examples hard, so these differences vary far less than losses (paired
   comparisons as in Moore and Lee 1994). The bound is Student's, with the correction for sampling
   without replacement, and with the error probability split among the rungs (Bonferroni). So this
   rule drops one of the best few with probability 1 − confidence at most. Bernstein's bound, which
   assumes no distribution, needs bounded losses and is several times as wide at a hundred examples:
   it would save nothing.

2. *It is outside the quota* (`Race.within_quota`; sequential halving, Karnin, Koren and Somekh
   2013). Where candidates differ by less than the noise, none is surely worse, and a race would
   cost as much as no race. So after each rung only one in `REDUCTION_FACTOR` goes on, those with
   the best scores so far, besides whoever is among the best few of cohort and leaders together.
   This rule bounds the cost and states no probability; it loses candidates that differ little from
   those it keeps.

3. *It has seen all examples.*

Who goes on after a rung is decided when all of the cohort have seen it, and depends on earlier
cohorts and on the examples seen alone: not on who was scored first, where, or how often the search
was interrupted. The trace of a settled candidate is in the study, so a resumed race takes the
settled candidates into account and runs the others anew to the same end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

from smash.scoring.rank_aggregation import Floats
from smash.study.candidate import Candidate

CONFIDENCE = 0.95
REDUCTION_FACTOR = 3.0

RankingKeys = Callable[[Floats, Sequence[Sequence[float]]], Floats]
"""Computes the keys that rank candidates, lower is better, from their scores and proxy values."""

Predict = Callable[[Sequence[Candidate], int], Iterable[Tensor]]
"""Predicts the examples of a rung, (examples, classes), for one candidate after the other."""

Judge = Callable[[Tensor, int], Tensor]
"""Computes the ranking quantity of each example predicted, from the given example on."""


def by_score(scores: Floats, proxies: Sequence[Sequence[float]]) -> Floats:
    """Ranks by the score alone."""
    return scores


class Race:
    """Races a cohort of candidates against each other and against leaders.

    Args:
        rungs: The number of examples seen after each rung; the last is all.
        keep: The number of best candidates that the race must tell apart.
        confidence: Probability, 0…1, that one of the best few is not dropped as surely worse.
        reduction_factor: At most one candidate in this many goes on after a rung.
        ranking_keys: Computes the keys that rank. With a prior the score alone does not rank, and
            no candidate is surely worse.

    Example:
        >>> race = Race([100, 400], keep=1, reduction_factor=2)
        >>> cohort = [
        ...     Candidate(
        ...         id=name, architecture=None, strategy="random", index=0, params=1, macs=1,
        ...         memory=1, flash=1, trace={100: loss},
        ...     )
        ...     for name, loss in (("a", 0.3), ("b", 0.5), ("c", 0.1), ("d", 0.4))
        ... ]
        >>> [candidate.id for candidate in race.dropped(cohort, [], end=100)]
        ['b', 'd']
    """

    def __init__(
        self,
        rungs: Sequence[int],
        keep: int,
        confidence: float = CONFIDENCE,
        reduction_factor: float = REDUCTION_FACTOR,
        ranking_keys: RankingKeys = by_score,
    ) -> None:
        self.rungs, self.keep = list(rungs), keep
        looks = max(1, len(rungs) - 1)  # after the last rung nothing is left to save
        self._error_probability = (1 - confidence) / looks
        self._reduction_factor, self.ranking_keys = reduction_factor, ranking_keys

    def run(
        self,
        cohort: Sequence[Candidate],
        leaders: Sequence[Candidate],
        predict: Predict,
        judge: Judge,
        settle: Callable[[Candidate], None],
    ) -> None:
        """Runs a race until all candidates of the cohort have settled.

        Args:
            cohort: The candidates; some may have settled before an interruption.
            leaders: The best few of earlier cohorts, with their `Candidate.values`.
            predict: Predicts the examples of a rung.
            judge: Computes the ranking quantity of each example.
            settle: Called once a candidate's race has ended; it gives the candidate its score.
        """
        for rung, end in enumerate(self.rungs):
            running = [each for each in cohort if each.state != "settled"]
            for candidate, predicted in zip(running, predict(running, rung), strict=True):
                _see(candidate, predicted, judge, end)
                if end == self.rungs[-1]:
                    settle(candidate)
            if end < self.rungs[-1]:
                for candidate in self.dropped(cohort, leaders, end):
                    settle(candidate)

    def dropped(
        self, cohort: Sequence[Candidate], leaders: Sequence[Candidate], end: int
    ) -> list[Candidate]:
        """Returns the running candidates whose race ends after a rung.

        Args:
            cohort: The candidates; those that settled before this rung do not count.
            leaders: The best few of earlier cohorts.
            end: The number of examples seen after the rung.
        """
        seen = [each for each in cohort if end in each.trace]
        within = self.within_quota(seen, leaders, end)
        return [
            candidate
            for candidate, stays in zip(seen, within, strict=True)
            if candidate.state == "running"
            and not (stays and not self.is_surely_worse(candidate.values, leaders))
        ]

    def within_quota(
        self, seen: Sequence[Candidate], leaders: Sequence[Candidate], end: int
    ) -> list[bool]:
        """Decides which candidates are within the quota of a rung, or among the best few.

        Args:
            seen: The candidates that have seen the rung.
            leaders: The best few of earlier cohorts.
            end: The number of examples seen after the rung.
        """
        of_leaders = [_values(leader)[:end].mean().item() for leader in leaders]
        scores = np.array([each.trace[end] for each in seen] + of_leaders)
        keys = self.ranking_keys(scores, [each.proxy for each in (*seen, *leaders)])
        keys = np.where(np.isnan(keys), np.inf, keys)
        own = keys[: len(seen)]
        places = np.argsort(np.argsort(own, kind="stable"), kind="stable")
        quota = math.ceil(len(seen) / self._reduction_factor)
        better = (keys[None] < own[:, None]).sum(1)
        within: list[bool] = ((places < quota) | (better < self.keep)).tolist()
        return within

    def is_surely_worse(self, values: Tensor | None, leaders: Sequence[Candidate]) -> bool:
        """Tests whether a candidate is worse than all leaders, with confidence.

        Args:
            values: The ranking quantity of each example seen, (examples,).
            leaders: The best few of earlier cohorts; fewer than `keep` spare everyone.
        """
        if values is None or len(leaders) < self.keep or self.ranking_keys is not by_score:
            return False
        leaders_LE = torch.stack([_values(leader) for leader in leaders]).to(values.device)
        count, total = len(values), leaders_LE.shape[1]
        mean_E = leaders_LE.mean(0)
        differences = values - mean_E[:count]
        estimate = differences.mean() + mean_E.mean()
        without_replacement = math.sqrt(1 - count / total)
        standard_error = differences.std().item() / math.sqrt(count) * without_replacement
        bound = -float(stdtrit(count - 1, self._error_probability))
        return (estimate - leaders_LE.mean(1).max()).item() > bound * standard_error


def _see(candidate: Candidate, predicted: Tensor, judge: Judge, end: int) -> None:
    """Adds the predictions of a rung to what a candidate has seen."""
    if candidate.predicted is None or candidate.values is None:
        candidate.predicted, candidate.values = predicted, judge(predicted, 0).double()
    else:
        values = judge(predicted, len(candidate.values)).double()
        candidate.predicted = torch.cat([candidate.predicted, predicted])
        candidate.values = torch.cat([candidate.values, values])
    candidate.trace[end] = candidate.values.mean().item()


def _values(leader: Candidate) -> Tensor:
    if leader.values is None:
        raise ValueError(f"leader {leader.id} has no values")
    return leader.values
