"""The kinds of charts of a report: numbers in, a picture out.

A point that stands for a candidate carries its number as ``data-i``, by which the page says more of
it. What differs by colour differs by shape too.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from smash.reporting.formatting import count, decimal
from smash.reporting.svg import Axis, Frame, Words, element, path, place, text

SHAPES = 6
"""Kinds of points and lines that can be told apart."""

_OUTLINES = (
    "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "m0-5.2l5.2 5.2l-5.2 5.2l-5.2-5.2z",
    "m0-5l4.8 8.8h-9.6z",
    "m-3.8-3.8h7.6v7.6h-7.6z",
    "m0 5l4.8-8.8h-9.6z",
    "m-1.6-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z",
)
_CROSS = "m-3.4-3.4l6.8 6.8m-6.8 0l6.8-6.8"  # a partial score

_BINS = 24  # of a histogram
_USUAL = Frame()


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What an axis shows.

    Attributes:
        name: Its name, with the unit.
        words: How its numbers are written.
        log: Whether equal ratios are equally long.
    """

    name: str
    words: Words = decimal
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve.

    Attributes:
        name: What it is.
        points: Places on both axes, in order.
        shape: Which colour and dash, 0…5; None for one of many in the background.
    """

    name: str
    points: Sequence[tuple[float, float]]
    shape: int | None = 0


@dataclass(frozen=True, kw_only=True)
class Point:
    """A candidate on a chart.

    Attributes:
        x: Its place to the right.
        y: Its place upwards.
        number: Its number on the page; None for one that is not on it.
        shape: Which colour and shape, 0…5.
        partial: Whether its score is of some examples only.
        title: What it is, where it has no number.
    """

    x: float
    y: float
    number: int | None
    shape: int = 0
    partial: bool = False
    title: str | None = None


def key(names: Mapping[int, str], *, partial: bool = False) -> Markup:
    """Says which shape is what.

    Args:
        names: Names by the number of the shape.
        partial: Whether there are partial scores.
    """
    entries = [(*_look(shape), name) for shape, name in names.items()]
    if partial:
        entries.append((*_look(None), "dropped early (partial score)"))
    items = [
        element(
            "li",
            element(
                "svg",
                element("path", d=f"M0 0{outline}", class_=class_),
                viewBox="-6 -6 12 12",
                aria_hidden="true",
            ),
            element("span", name),
        )
        for outline, class_, name in entries
    ]
    return element("ul", *items, class_="key")


def _look(shape: int | None) -> tuple[str, str]:
    """Outline and class of a point; of a partial score, if there is no shape."""
    if shape is None:
        return _CROSS, "point partial"
    return _OUTLINES[shape % SHAPES], f"point s{shape % SHAPES}"


def line_chart(lines: Sequence[Line], x: Scale, y: Scale, label: str) -> Markup:
    """Curves, each named at its end unless it is in the background."""
    frame = Frame(right=14)
    across = frame.across((px for line in lines for px, _ in line.points), log=x.log)
    up = frame.up((py for line in lines for _, py in line.points), log=y.log)
    drawn = []
    for line in sorted(lines, key=lambda one: one.shape is not None):  # the background first
        places = [(across(px), up(py)) for px, py in line.points]
        class_ = "back" if line.shape is None else f"s{line.shape % SHAPES}"
        dots = [
            element("circle", cx=px, cy=py, r=2.6)
            for px, py in places
            if math.isfinite(px) and math.isfinite(py) and len(places) <= 60
        ]
        drawn.append(
            element(
                "g",
                element("title", line.name),
                path(places, "line"),
                *(() if line.shape is None else dots),
                class_=f"series {class_}",
            )
        )
    sides = (frame.side(across, x.name, x.words, "bottom"), frame.side(up, y.name, y.words, "left"))
    return frame.picture(*sides, *drawn, label=label)


def point_chart(
    points: Sequence[Point],
    x: Scale,
    y: Scale,
    label: str,
    *,
    stairs: Sequence[tuple[float, float]] = (),
    frame: Frame = _USUAL,
    cursor: bool = False,
) -> Markup:
    """Candidates as points that can be pointed at, walked over by keys and chosen.

    Args:
        points: The candidates.
        x: The horizontal axis.
        y: The vertical axis.
        label: What the picture shows.
        stairs: Corners of a line that goes right before it goes up or down, such as a front.
        frame: Size of the picture.
        cursor: Whether there is a line that shows a place on the horizontal axis.
    """
    across = frame.across((one.x for one in points), log=x.log)
    # Partial scores may be far off: the full ones say what is shown.
    up = frame.up((one.y for one in points if not one.partial), log=y.log)
    shown = [one for one in points if math.isfinite(across(one.x)) and math.isfinite(up(one.y))]
    drawn = []
    for one in sorted(shown, key=lambda point: not point.partial):
        outline, class_ = _look(None if one.partial else one.shape)
        drawn.append(
            element(
                "path",  # and not one symbol that is used: a browser draws those far more slowly
                *(() if one.title is None else (element("title", one.title),)),
                d=f"{place(across(one.x), min(max(up(one.y), frame.top), frame.y_end))}{outline}",
                class_=class_,
                data_i=one.number,
            )
        )
    corners = list(_corners([(across(px), up(py)) for px, py in stairs], across.end))
    extra = [path(corners, "front")] if corners else []
    if cursor:
        extra.append(path([(frame.left, frame.top), (frame.left, frame.y_end)], "cursor"))
    return frame.picture(
        frame.side(across, x.name, x.words, "bottom"),
        frame.side(up, y.name, y.words, "left"),
        *extra,
        element("g", *drawn, class_="points"),
        label=f"{label} {count(len(shown))} points; arrow keys walk over them, Enter draws one.",
        class_="choose",
        role="application",
        tabindex="0",
    )


def in_two_sizes(draw: Callable[..., Markup], height: float) -> Markup:
    """A wide picture, and a narrow one for a phone, of which the page shows one.

    Args:
        draw: Draws the chart in the given ``frame``.
        height: Of the wide one.
    """
    sizes = (("if-wide", Frame(width=1080, height=height)), ("if-narrow", Frame(height=380)))
    return Markup("").join(element("div", draw(frame=frame), class_=name) for name, frame in sizes)


def _corners(places: Sequence[tuple[float, float]], end: float) -> Iterator[tuple[float, float]]:
    for (px, py), (following, _) in pairwise([*places, (end, 0.0)]):
        yield px, py
        yield following, py


@dataclass(frozen=True, kw_only=True)
class Group:
    """Values of one kind.

    Attributes:
        name: What they are of.
        values: The values.
        shape: Which colour, 0…5.
        note: What is to be said of them.
    """

    name: str
    values: Sequence[float]
    shape: int
    note: str = ""


def histograms(groups: Sequence[Group], x: Scale, label: str) -> Markup:
    """A histogram for each group, one below the other, with a line at the median and the best."""
    row = 100 if len(groups) <= 3 else 64
    frame = Frame(height=row * len(groups) + 60, left=14, top=8)
    finite = [[v for v in group.values if math.isfinite(v)] for group in groups]
    across = frame.across((v for values in finite for v in values), log=x.log)
    drawn = [
        _histogram(group, values, across, frame.top + row * (number + 1), row - 24, x)
        for number, (group, values) in enumerate(zip(groups, finite, strict=True))
    ]
    return frame.picture(frame.side(across, x.name, x.words, "bottom"), *drawn, label=label)


def _histogram(
    group: Group, values: list[float], across: Axis, base: float, height: float, x: Scale
) -> Markup:
    size = (across.end - across.start) / _BINS
    bins = Counter(min(_BINS - 1, int((across(each) - across.start) / size)) for each in values)
    most = max(bins.values(), default=1)
    parts = [text(across.start, base - height - 6, f"{group.name}: {group.note}", "group")]
    for bin_, number in sorted(bins.items()):
        top = height * number / most
        parts.append(
            element(
                "rect",
                element("title", f"{number} of {len(values)}"),
                x=across.start + bin_ * size + 0.5,
                y=base - top,
                width=size - 1,
                height=top,
            )
        )
    parts.append(path([(across.start, base), (across.end, base)], "base"))
    if values:
        ordered = sorted(values)
        for value, class_ in ((ordered[len(ordered) // 2], "median"), (ordered[0], "best")):
            at = across(value)
            line = path([(at, base - height), (at, base + 4)], class_)
            title = element("title", f"{class_}: {x.words(value)}")
            parts.append(element("g", title, line))
    return element("g", *parts, class_=f"bars s{group.shape % SHAPES}")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number that is known within an interval.

    Attributes:
        name: What it is of.
        value: The number.
        low: Lower end of its interval.
        high: Upper end.
        main: Whether it is the one that the others are there to be compared with.
    """

    name: str
    value: float
    low: float
    high: float
    main: bool = False


def intervals(estimates: Sequence[Estimate], x: Scale, label: str) -> Markup:
    """Numbers with their intervals, one below the other."""
    row, letter = 30, 7  # letter: the width of one in a name, at most on average
    longest = max((len(one.name) for one in estimates), default=0)
    frame = Frame(height=row * len(estimates) + 62, left=max(150, 10 + letter * longest), top=8)
    ends = [each for one in estimates for each in (one.low, one.high, one.value)]
    across = frame.across([0.0, *ends])
    drawn = []
    for number, one in enumerate(estimates):
        y = frame.top + row * (number + 0.5)
        at = across(one.value)
        if not math.isfinite(at):
            continue
        low, high = (
            across(each if math.isfinite(each) else one.value) for each in (one.low, one.high)
        )
        drawn.append(
            element(
                "g",
                element(
                    "title", f"{one.name}: {x.words(one.value)} [{one.low:.3f}, {one.high:.3f}]"
                ),
                text(frame.left - 10, y + 4, one.name, anchor="end"),
                path([(low, y), (high, y)], "line"),
                element("circle", cx=at, cy=y, r=5),
                text(min(at, frame.x_end - 24), y - 8, x.words(one.value), "value", "middle"),
                class_=f"interval {'s0' if one.main else 'back'}",
            )
        )
    zero = path([(across(0), frame.top), (across(0), frame.y_end)], "base")
    return frame.picture(frame.side(across, x.name, x.words, "bottom"), zero, *drawn, label=label)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A share of something.

    Attributes:
        name: Of what.
        value: The share, 0…1.
    """

    name: str
    value: float


def bar_list(bars: Sequence[Bar], words: Words) -> Markup:
    """Shares, one below the other; a list, so that long names wrap."""
    items = [
        element(
            "li",
            element("span", bar.name, class_="bar-name"),
            element(
                "span",
                element("i", style=f"width:{100 * bar.value:.1f}%"),
                class_="bar-track",
                aria_hidden="true",
            ),
            element("span", words(bar.value), class_="bar-value"),
        )
        for bar in bars
    ]
    return element("ul", *items, class_="bar-list")


_WIDTH, _HEIGHT = 640, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 20, 50, 60
_TICKS = 5
_LETTERS = 50  # of the vertical axis's name in a line: as many as the axis is long


def scatter(xs: ArrayLike, ys: ArrayLike, *, title: str, x: str, y: str) -> str:
    """Draws points; those that are not finite are left out, and the title says how many.

    Args:
        xs: Shape ``(n,)``, to the right.
        ys: Shape ``(n,)``, upwards.
        title: Over the plot.
        x: Name of the horizontal axis.
        y: Name of the vertical axis, in two lines if it is long.

    Returns:
        An SVG document.
    """
    points = np.stack([np.asarray(xs, dtype=float), np.asarray(ys, dtype=float)])
    shown = points[:, np.isfinite(points).all(0)]
    missing = points.shape[1] - shown.shape[1]
    if missing:
        title = f"{title} ({missing} without a score)"
    across = _Axis(shown[0], _LEFT, _WIDTH - _RIGHT)
    up = _Axis(shown[1], _HEIGHT - _BOTTOM, _TOP)
    bottom, middle = _HEIGHT - _BOTTOM, (_LEFT + _WIDTH - _RIGHT) / 2
    parts = [
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(middle, 28, title, size=17),
        _text(middle, _HEIGHT - 14, x),
        *(
            _text(12 + 13 * line, (_TOP + bottom) / 2, words, turned=True)
            for line, words in enumerate(
                textwrap.wrap(y, _LETTERS, max_lines=2, placeholder=" …") or [""]
            )
        ),
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}" fill="none" stroke="black"/>',
    ]
    for value, at in across.ticks():
        parts += [
            _text(at, bottom + 20, f"{value:.4g}"),
            f'<path d="M{at:.1f} {bottom}v5" {_INK}/>',
        ]
    for value, at in up.ticks():
        parts.append(_text(_LEFT - 10, at + 5, f"{value:.4g}", anchor="end"))
        parts.append(f'<path d="M{_LEFT} {at:.1f}h-5" {_INK}/>')
    parts += [
        f'<circle cx="{across(float(one)):.1f}" cy="{up(float(other)):.1f}" r="3"/>'
        for one, other in shown.T
    ]
    style = "<style>circle{fill:#1f77b4;fill-opacity:.5}text{font-family:sans-serif}</style>"
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    body = "\n".join([style, *parts])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{body}\n</svg>\n'


_INK = 'stroke="black"'


class _Axis:
    """Maps values to places in the picture."""

    def __init__(self, values: NDArray[np.float64], start: float, end: float) -> None:
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        # A margin, so that no point lies on an axis.
        margin = 0.03 * (high - low) or 0.5
        self._low, self._high = low - margin, high + margin
        self._ticks = np.linspace(low, high, _TICKS if high > low else 1).tolist()
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        """The place of a value, in pixels."""
        share = (value - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[tuple[float, float]]:
        """Values to write on the axis, and their places."""
        return [(value, self(value)) for value in self._ticks]


def _text(
    x: float, y: float, words: str, *, size: int = 13, anchor: str = "middle", turned: bool = False
) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{turn}>'
        f"{escape(words)}</text>"
    )
