"""The record of how far a run's ranking can be trusted, ``RUN/trust.json``.

It holds the rank correlation of the SMASH score and of other rankings with real accuracies.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from pydantic import Field

from smash.errors import RunStateError
from smash.io.records import Amount, Finite, Interval, Number, Record
from smash.run.layout import FOUND


class RankCorrelation(Record):
    """Agreement of a ranking with real accuracies.

    Attributes:
        kendall_tau: Kendall's τ-b.
        spearman: Spearman's ρ.
        top_tenth_tau: Kendall's τ-b among the best tenth by real accuracy.
        equal_size_tau: Kendall's τ-b among pairs of about equal parameter count; NaN without any.
        ndcg: Normalised discounted cumulative gain, 0…1; NaN where all accuracies are equal.
        top_precision: Share of the top twentieth that is truly in it, 0…1.
        regret: Loss of real accuracy from training the top 1, 5 and 10 alone, in the unit of the
            accuracies; None where there are fewer.
        tau_difference: τ of the SMASH score minus this τ, on the same resamples; None for the score
            itself and for random order.
    """

    kendall_tau: Interval
    spearman: Interval
    top_tenth_tau: Interval
    equal_size_tau: Number
    ndcg: Number
    top_precision: Finite
    regret: dict[Annotated[int, Field(strict=False)], Finite | None]
    tau_difference: Interval | None = None


class ScoredAccuracy(Record):
    """An architecture with its score and its real accuracy.

    Attributes:
        id: Id of the architecture.
        score: SMASH score, lower is better; NaN if it was not finite.
        accuracy: Real accuracy, in the unit of its source.
    """

    id: str
    score: Number
    accuracy: Finite

    @property
    def has_score(self) -> bool:
        """Whether the score is finite."""
        return math.isfinite(self.score)


class Trust(RankCorrelation):
    """Rank correlation of the SMASH score with real accuracies, beside other rankings.

    Attributes:
        n: Number of architectures.
        truth: Source of the real accuracies, in words.
        score: What the score was computed on, in words.
        rank_by: The part of the score that ranks.
        baselines: Other rankings, by the proxies that make them, or ``random``.
        together: The score joined with each proxy, by the proxy's name.
        prior: The proxy that serves as a prior; None without.
        points: The architectures.

    Example:
        >>> tau = Interval(value=0.6, low=0.4, high=0.8)
        >>> trust = Trust(
        ...     kendall_tau=tau, spearman=tau, top_tenth_tau=tau, equal_size_tau=0.5, ndcg=0.9,
        ...     top_precision=1.0, regret={1: 0.0}, n=3,
        ...     truth="trained", score="loss on 153 examples", rank_by="loss",
        ...     baselines={}, together={}, points=[],
        ... )
        >>> trust.kendall_tau.low > 0  # the ranking is better than chance
        True
    """

    n: Amount
    truth: str
    score: str
    rank_by: str
    baselines: dict[str, RankCorrelation]
    together: dict[str, RankCorrelation]
    prior: str | None = None
    points: list[ScoredAccuracy]

    def tau_of(self, rank_by: str, prior: str | None) -> Interval | None:
        """Gives Kendall's τ of one way to rank; None if it was not compared.

        Args:
            rank_by: The part of the score that ranks.
            prior: The proxy that is joined with it; None for the score alone.
        """
        if rank_by != self.rank_by:
            return None
        found = self if prior is None else self.together.get(prior)
        return None if found is None else found.kendall_tau

    @classmethod
    def of_run(cls, run: Path) -> Trust | None:
        """Reads the record of a run; None before the first check.

        Raises:
            RunStateError: The file is damaged.
        """
        path = run / FOUND
        if not path.is_file():
            return None
        try:
            return cls.read(path)
        except RunStateError as error:
            mend = "repeat 'smash correlate', or delete the file"
            raise RunStateError(*(f"{fault}; {mend}" for fault in error.faults)) from None
