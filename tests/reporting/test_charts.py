from __future__ import annotations

import math

import pytest

from smash.reporting.charts import Point, Scale, point_chart
from smash.reporting.svg import Frame
from tests.reporting.html import of_class, parsed, said


def places(root):
    """Where the points of a chart are drawn."""
    moves = [one.attrib["d"].split("m")[0].removeprefix("M") for one in of_class(root, "point")]
    return [tuple(map(float, move.split())) for move in moves]


def scatter(xs, ys, **options):
    points = [Point(x=x, y=y, number=None) for x, y in zip(xs, ys, strict=True)]
    chart = point_chart(
        points, Scale(name="across <x>"), Scale(name="up & away"), "All.", **options
    )
    return parsed(chart)


def test_point_chart_draws_points_in_proportion():
    (x0, y0), (x1, y1), (x2, y2) = places(scatter([0, 5, 10], [1.0, 1.0, 3.0]))
    assert x0 < x1 < x2
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)  # places are rounded to a tenth
    assert y0 == y1 > y2  # upwards
    frame = Frame()
    assert all(frame.left < x < frame.x_end for x in (x0, x1, x2))
    assert all(frame.top < y < frame.y_end for y in (y0, y1, y2))


def test_point_chart_names_axes_and_numbers_ticks():
    words = {said(each) for each in scatter([0, 5, 10], [1.0, 1.0, 3.0]).iter("text")}
    assert {"across <x>", "up & away", "0", "10", "1", "3"} <= words


def test_point_chart_leaves_out_points_that_are_not_finite():
    root = scatter([0, math.nan, 2, math.inf], [1, 2, 3, 4])
    assert len(places(root)) == 2
    assert "2 points" in next(root.iter("svg")).attrib["aria-label"]


@pytest.mark.parametrize("xs", [[], [3.0, 3.0]])
def test_point_chart_of_no_or_equal_points_can_be_drawn(xs):
    drawn = places(scatter(xs, xs))
    assert len(drawn) == len(xs)
    assert len(set(drawn)) <= 1


def test_point_chart_clips_partial_scores_to_the_frame():
    points = [Point(x=n, y=y, number=n, partial=y > 10) for n, y in enumerate((1.0, 2.0, 99.0))]
    root = parsed(point_chart(points, Scale(name="x"), Scale(name="y"), "All."))
    assert sorted(y for _, y in places(root))[0] == Frame().top


def test_point_chart_draws_stairs_to_the_end_of_the_axis():
    front = of_class(scatter([0, 10], [1, 3], stairs=[(0, 3), (5, 1)]), "front")[0].attrib["d"]
    corners = [tuple(map(float, move.split())) for move in front[1:].split("L")]
    assert [x for x, _ in corners][-1] == Frame().x_end
    assert corners[0][1] == corners[1][1] < corners[2][1] == corners[3][1]


def test_frame_file_is_a_document_with_lines_that_fit():
    frame = Frame(width=350, height=200)
    chart = point_chart([Point(x=1, y=2, number=None)], Scale(name="x"), Scale(name="y"), "All.")
    document = frame.file(chart, "a <title>", "a long line " * 20)
    assert document.startswith("<svg ")
    assert 'xmlns="http://www.w3.org/2000/svg"' in document
    root = parsed(document.replace(' xmlns="http://www.w3.org/2000/svg"', ""))
    title, line, *_ = (said(each) for each in root.iter("text"))
    assert title == "a <title>"
    assert line.endswith(" …")
    assert len(line) * 7 <= 350
    assert len(places(root)) == 1
