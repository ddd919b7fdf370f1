"""Ranking candidates: by the score, or with a prior by score and proxy together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from smash.errors import NotFoundError
from smash.scoring.priors import adjusted_scores, joint_score, proxies_of, proxy_score
from smash.scoring.rank_aggregation import Floats
from smash.study.candidate import Candidate, Outline

R = TypeVar("R", Candidate, Outline)


@dataclass(frozen=True, kw_only=True)
class Ranked(Generic[R]):
    """A candidate and its ranks, each from 0, the best, among all candidates.

    Attributes:
        candidate: The candidate.
        score_rank: Rank by the score alone.
        proxy_rank: Rank by the proxies of the prior alone; None without any.
    """

    candidate: R
    score_rank: int
    proxy_rank: int | None


def rank(candidates: Sequence[R], prior: str | None = None) -> list[Ranked[R]]:
    """Ranks candidates, best first.

    Candidates that a race dropped come last, of them those first that were dropped last. With a
    prior, the others are ordered by `smash.scoring.priors.joint_score` among all candidates.

    Args:
        candidates: Settled candidates.
        prior: Name of the proxy that gave their `Candidate.proxy`; None ranks by the score alone.
    """
    scored = _adjusted(candidates, prior)
    keys = [
        (each.partial, -each.examples, score)
        for each, score in zip(candidates, scored, strict=True)
    ]
    place = {key: number for number, key in enumerate(sorted(set(keys)))}
    scores = np.array([place[key] for key in keys], dtype=np.float64)
    joint, by_proxy = scores, None
    if prior is not None and len(candidates):
        values = [each.proxy for each in candidates]
        joint = joint_score(prior, scores, values)
        if proxies_of(prior):
            by_proxy = _ranks(-proxy_score(prior, values))
    by_score = _ranks(scores)
    order = sorted(
        range(len(candidates)), key=lambda at: (candidates[at].partial, joint[at], scores[at])
    )
    return [
        Ranked(
            candidate=candidates[at],
            score_rank=by_score[at],
            proxy_rank=None if by_proxy is None else by_proxy[at],
        )
        for at in order
    ]


def _adjusted(candidates: Sequence[R], prior: str | None) -> list[float]:
    """Gives the scores; those on all examples are adjusted where the prior says so."""
    scores = np.array([each.value for each in candidates], dtype=np.float64)
    full = np.array([not each.partial for each in candidates], dtype=bool)
    architectures = (
        each.architecture for each in candidates if isinstance(each, Candidate) and not each.partial
    )
    scores[full] = adjusted_scores(prior, scores[full], architectures)
    return list(scores.tolist())


def pick(ranked: Sequence[Candidate], rank: int) -> Candidate:
    """Returns the candidate of a rank.

    Raises:
        NotFoundError: The rank does not exist.
    """
    if not ranked:
        raise NotFoundError("the run has no candidates yet: rank some with 'smash search'")
    if not 0 <= rank < len(ranked):
        raise NotFoundError(
            f"rank {rank} does not exist: ranks go from 0, the best, to {len(ranked) - 1}"
        )
    return ranked[rank]


def _ranks(values: Floats) -> list[int]:
    """Ranks values from 0, the lowest; of equal ones the earlier is lower."""
    ranks: list[int] = np.argsort(np.argsort(values, kind="stable"), kind="stable").tolist()
    return ranks
