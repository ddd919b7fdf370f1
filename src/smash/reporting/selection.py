"""Which candidates a page shows, where there are more than it can hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from smash.reporting.contents import Contents
from smash.searching.pareto import fronts
from smash.study.study import Candidate

T = TypeVar("T")

MOST_POINTS = 3000
_BEST = 1000  # of those, how many are the best at any rate

COSTS = ("params", "macs", "latency")
"""What a candidate may cost, as the study calls it."""


def costs(candidates: Iterable[Candidate]) -> list[str]:
    """The costs that are known of all candidates."""
    every = list(candidates)
    return [
        name
        for name in COSTS
        if every and all(getattr(one, name, None) is not None for one in every)
    ]


def cost_of(candidate: Candidate, name: str) -> float:
    """A cost of a candidate: parameters, MACs for one input, or seconds."""
    return float(getattr(candidate, name))


def front(candidates: Sequence[Candidate], cost: str) -> list[Candidate]:
    """The Pareto front of error and a cost among full scores, cheapest first."""
    full = [one for one in candidates if not one.partial]
    if not full:
        return []
    ranks = fronts([(one.error, cost_of(one, cost)) for one in full])
    best = {
        (one.error, cost_of(one, cost)): one
        for one, rank in zip(full, ranks, strict=True)
        if rank == 0
    }
    return sorted(best.values(), key=lambda one: cost_of(one, cost))


def improvements(candidates: Sequence[Candidate]) -> list[int]:
    """Where in a search the best so far changed: numbers of candidates in the order of scoring."""
    found, least = [], math.inf
    for number, one in enumerate(candidates):
        if not one.partial and one.value < least:
            least = one.value
            found.append(number)
    return found


def in_order_of_interest(contents: Contents) -> list[Candidate]:
    """All candidates: first those that the page speaks of, then the best, then all others.

    Those are the best at each time of the search, the Pareto fronts, and what was trained.
    """
    trained = {child.what for child in contents.children}
    first = [contents.candidates[number] for number in improvements(contents.candidates)]
    for cost in costs(contents.candidates):
        first += front(contents.candidates, cost)
    first += [one for one in contents.candidates if one.id in trained]
    partial = [one for one in contents.candidates if one.partial]
    return list({one.id: one for one in [*first, *contents.complete, *partial]}.values())


def spread(items: Sequence[T], most: int) -> list[T]:
    """So many of some things, evenly from first to last; all, if there are no more."""
    if len(items) <= most:
        return list(items)
    return [items[len(items) * index // most] for index in range(most)]


def on_the_page(contents: Contents, most: int = MOST_POINTS) -> list[Candidate]:
    """The candidates that become points, in the order of scoring.

    Args:
        contents: The run.
        most: How many there may be; of more, those that matter and a fair share of the rest.
    """
    ordered = in_order_of_interest(contents)
    if len(ordered) > most:
        best, rest = ordered[: min(_BEST, most // 2)], ordered[min(_BEST, most // 2) :]
        ordered = best + spread(rest, most - len(best))
    chosen = {one.id for one in ordered}
    return [one for one in contents.candidates if one.id in chosen]
