from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree  # of our own making

import pytest

from smash.reporting.charts import scatter

SVG = "{http://www.w3.org/2000/svg}"


def drawn(xs, ys, title="title", y="up & away"):
    document = scatter(xs, ys, title=title, x="across <x>", y=y)
    return ElementTree.fromstring(document)  # noqa: S314


def test_points_lie_where_their_numbers_say():
    circles = drawn([0, 5, 10], [1.0, 1.0, 3.0]).findall(f"{SVG}circle")
    x, y = ([float(circle.attrib[name]) for circle in circles] for name in ("cx", "cy"))
    assert x[1] - x[0] == pytest.approx(x[2] - x[1])
    assert x[0] < x[1] < x[2]
    assert y[0] == y[1] > y[2]  # upwards
    assert all(0 < each < 640 for each in x)
    assert all(0 < each < 480 for each in y)


def test_words_and_ends_of_the_axes_are_written():
    words = [each.text for each in drawn([0, 5, 10], [1.0, 1.0, 3.0]).findall(f"{SVG}text")]
    assert {"title", "across <x>", "up & away", "0", "10", "1", "3"} <= set(words)


@pytest.mark.parametrize("folder", ["/data", "/a/long/path" * 20])
def test_a_long_name_of_an_axis_stays_beside_it(folder):
    name = f"column accuracy of {folder}/table-of-architectures.csv, second half"
    texts = drawn([0, 1], [0, 1], y=name).findall(f"{SVG}text")
    lines = [each for each in texts if "rotate" in each.attrib.get("transform", "")]
    assert len(lines) == 2
    assert all(len(each.text) <= 50 for each in lines)
    assert name.startswith(lines[0].text)


def test_what_has_no_place_is_told():
    svg = drawn([0, math.nan, 2, math.inf], [1, 2, 3, 4])
    assert len(svg.findall(f"{SVG}circle")) == 2
    assert "title (2 without a score)" in [each.text for each in svg.findall(f"{SVG}text")]


@pytest.mark.parametrize("xs", [[], [3.0, 3.0]])
def test_no_points_and_equal_points_can_be_drawn(xs):
    circles = drawn(xs, xs).findall(f"{SVG}circle")
    assert len(circles) == len(xs)
    assert len({(circle.attrib["cx"], circle.attrib["cy"]) for circle in circles}) <= 1
