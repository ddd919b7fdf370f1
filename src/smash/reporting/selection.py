"""Selection of the candidates that a page shows, where there are more than it can hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from smash.reporting.contents import Contents
from smash.study.candidate import Candidate

T = TypeVar("T")

LISTED = 12  # best candidates in the table
MOST_POINTS = 3000
_BEST = 1000  # of them, the number of best candidates that are shown in any case


def cost_of(candidate: Candidate, name: str) -> float:
    """Gives a cost of a candidate: parameters, MACs for one input, or seconds."""
    return float(getattr(candidate, name))


def places_of(some: Iterable[Candidate], candidates: Sequence[Candidate]) -> dict[str, int]:
    """Gives the places of some candidates, in the order of scoring, by their ids."""
    ids = {candidate.id for candidate in some}
    every = enumerate(candidates)
    return {candidate.id: place for place, candidate in every if candidate.id in ids}


def improvements(candidates: Sequence[Candidate]) -> list[int]:
    """Gives the places, in the order of scoring, at which the best score so far changed."""
    places, least = [], math.inf
    for place, candidate in enumerate(candidates):
        if not candidate.partial and candidate.value < least:
            least = candidate.value
            places.append(place)
    return places


def in_order_of_interest(contents: Contents) -> list[Candidate]:
    """Sorts all candidates: first those that the page mentions, then the best, then the others.

    The page mentions the best at each time of the search, the Pareto fronts, and trained ones.
    """
    candidates = contents.candidates
    trained = {child.origin for child in contents.children}
    first = [candidates[place] for place in improvements(candidates)]
    for front in contents.fronts.values():
        first += front
    first += [candidate for candidate in candidates if candidate.id in trained]
    partial = [candidate for candidate in candidates if candidate.partial]
    return list({each.id: each for each in [*first, *contents.complete, *partial]}.values())


def spread(items: Sequence[T], most: int) -> list[T]:
    """Selects at most so many items, evenly from first to last."""
    if len(items) <= most:
        return list(items)
    return [items[len(items) * index // most] for index in range(most)]


def on_the_page(contents: Contents, most: int = MOST_POINTS) -> list[Candidate]:
    """Selects the candidates that become points, in the order of scoring.

    Args:
        contents: The run.
        most: The most points; of more candidates, the winner, those of the table, the
            interesting ones and an even share of the rest.
    """
    ordered = in_order_of_interest(contents)
    if len(ordered) > most:
        # If many candidates tie, the fronts alone can exceed the room.
        winners = [contents.winner] if contents.winner else []
        best = [*winners, *contents.complete[:LISTED], *ordered[: min(_BEST, most // 2)]]
        best = list({each.id: each for each in best}.values())
        known = {each.id for each in best}
        rest = [each for each in ordered if each.id not in known]
        ordered = best + spread(rest, most - len(best))
    selected = {candidate.id for candidate in ordered}
    return [candidate for candidate in contents.candidates if candidate.id in selected]
