from __future__ import annotations

from dataclasses import replace

from markupsafe import Markup

from smash.reporting.drawing import Drawing, pack, pack_drawings, unpack
from smash.reporting.selection import (
    LISTED,
    improvements,
    in_order_of_interest,
    on_the_page,
    places_of,
)
from smash.searching.objectives import pareto_front


def test_places_of_are_those_in_the_order_of_scoring(some):
    assert places_of([some[7], some[2]], some) == {some[2].id: 2, some[7].id: 7}


def test_improvements_leave_out_partial_scores(some):
    values = [3.0, 1.0, 2.0, 2.5, 1.5]
    made = [
        replace(one, score=replace(one.settled, loss=value), partial=value == 1.0)
        for one, value in zip(some, values, strict=False)
    ]
    assert improvements(made) == [0, 2, 4]


def test_on_the_page_of_few_candidates_keeps_all_in_order(contents):
    assert on_the_page(contents) == contents.candidates


def test_on_the_page_of_many_candidates_keeps_the_best(contents):
    chosen = on_the_page(contents, most=25)
    assert len(chosen) == 25
    assert chosen == [one for one in contents.candidates if one in chosen]
    matter = [contents.candidates[number] for number in improvements(contents.candidates)]
    matter += pareto_front(contents.candidates, ("params", "error"))
    assert in_order_of_interest(contents)[: len(matter) // 2] != []
    assert {one.id for one in matter} <= {one.id for one in in_order_of_interest(contents)[:15]}
    assert {one.id for one in in_order_of_interest(contents)[:12]} <= {one.id for one in chosen}


def test_on_the_page_of_many_that_tie_keeps_those_of_the_table(contents):
    ties = [
        replace(one, macs=1, memory=1, flash=1, params=1, score=replace(one.settled, error=0.0))
        for one in contents.candidates
    ]
    place = {one.id: one for one in ties}
    tied = replace(contents, candidates=ties, ranked=[place[one.id] for one in contents.ranked])
    chosen = on_the_page(tied, most=26)
    assert {one.id for one in tied.complete[:LISTED]} <= {one.id for one in chosen}
    assert len(chosen) == 26


def test_unpack_returns_what_was_packed():
    text = "<svg>×→ é</svg>" * 100
    assert unpack(pack(text)) == text
    assert len(pack(text)) < len(text) / 10


def test_pack_drawings_fills_the_room_and_no_more(some):
    def draw(one):
        return Drawing("", lambda: Markup(one.id * 3))  # noqa: S704

    size = len(pack(some[0].id * 3))
    packed = pack_drawings(some, draw, room=5 * (size + 12) + 4)
    assert sum(12 + len(one) for one in packed.values()) <= 5 * (size + 12) + 4
    assert list(packed) == [one.id for one in some[: len(packed)]]
    assert len(packed) >= 4
    assert unpack(packed[some[0].id]) == some[0].id * 3
