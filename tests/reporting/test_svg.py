from __future__ import annotations

import math

import pytest

from smash.reporting.formatting import decimal
from smash.reporting.svg import Axis, Frame, element, path
from tests.reporting.html import of_class, parsed, said


def test_element_escapes_words_and_attributes_only():
    inner = element("b", '<i>&"')
    assert element("p", inner, "'", title='"<', class_="a") == (
        '<p title="&#34;&lt;" class="a"><b>&lt;i&gt;&amp;&#34;</b>&#39;</p>'
    )


def test_element_leaves_out_empty_attributes_and_shortens_numbers():
    assert element("rect", x=1.0, y=2.25, rx=None, data_op="0.1") == (
        '<rect x="1" y="2.2" data-op="0.1"></rect>'
    )


def test_line_with_a_missing_point_is_interrupted():
    line = path([(0, 0), (1, 2), (math.nan, 3), (4, 5), (6, 7)], "line")
    assert 'd="M0 0L1 2M4 5L6 7"' in line


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.11, 0.36, [0.15, 0.2, 0.25, 0.3, 0.35]),
        (-3, 3, [-2, 0, 2]),
        (1200, 3900, [1500, 2000, 2500, 3000, 3500]),
    ],
)
def test_ticks_of_a_linear_axis_are_round_numbers(low, high, ticks):
    assert Axis(low, high, 0, 100).ticks() == pytest.approx(ticks)


def test_ticks_of_a_log_axis_are_one_two_and_five():
    assert Axis(15e3, 120e3, 0, 100, log=True).ticks() == [2e4, 5e4, 1e5]
    assert Axis(1, 1e5, 0, 100, log=True).ticks() == [1, 10, 100, 1e3, 1e4, 1e5]


def test_axis_maps_equal_ratios_to_equal_lengths():
    axis = Axis(1, 100, 10, 210, log=True)
    assert [axis(value) for value in (1, 10, 100)] == pytest.approx([10, 110, 210])
    assert math.isnan(axis(0))
    assert math.isnan(Axis(0, 1, 0, 1)(math.nan))


@pytest.mark.parametrize("values", [[], [3.0], [3.0, 3.0], [math.nan, math.inf], [0.0]])
@pytest.mark.parametrize("log", [False, True])
def test_axis_of_few_or_no_values_has_a_length(values, log):
    axis = Axis.over(values, 0, 100, log=log)
    assert axis.low < axis.high
    assert all(0 <= axis(tick) <= 100 for tick in axis.ticks())


def test_axis_maps_values_between_its_ends():
    axis = Axis.over([5, -1, math.inf], 50, 250)
    assert axis(-1) == pytest.approx(50 + 200 * 0.24 / 6.48)
    assert axis(5) == pytest.approx(250 - 200 * 0.24 / 6.48)


def test_side_writes_its_ticks_where_they_are():
    frame = Frame(width=200, height=100, left=50, bottom=20, top=10, right=10)
    axis = Axis(0, 1, frame.left, frame.x_end)
    side = parsed(frame.side(axis, "share", decimal, "bottom"))
    places = {said(text): float(text.attrib["x"]) for text in side.iter("text")}
    assert places["0"] == 50
    assert places["1"] == 190
    assert places["0.4"] == pytest.approx(50 + 0.4 * 140)
    assert said(of_class(side, "name")[0]) == "share"
