"""Charts of a report: line charts, scatter plots, histograms, intervals and bars.

The point of a candidate carries the candidate's number as ``data-i``, by which the page's script
looks up its details. Series that differ in colour also differ in shape.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from smash.reporting.formatting import count, decimal
from smash.reporting.svg import Axis, Format, Frame, element, move_to, path, text

SHAPES = 6
"""Number of markers, and of line styles, that a reader can distinguish."""

_MARKERS = (  # SVG paths around the origin: circle, diamond, triangles, square, plus
    "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "m0-5.2l5.2 5.2l-5.2 5.2l-5.2-5.2z",
    "m0-5l4.8 8.8h-9.6z",
    "m-3.8-3.8h7.6v7.6h-7.6z",
    "m0 5l4.8-8.8h-9.6z",
    "m-1.6-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z",
)
_CROSS = "m-3.4-3.4l6.8 6.8m-6.8 0l6.8-6.8"  # marks a partial score

_KEYS = "; arrow keys walk over them, Enter draws one."
_INTERACTIVE = {"class_": "choose", "role": "application", "tabindex": "0"}

_BINS = 24
_MOST_DOTS = 60  # a longer curve has no dots at its points
_DEFAULT_FRAME = Frame()


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The quantity on an axis.

    Attributes:
        name: Its name, with the unit.
        format: Formats a number of it.
        log: Whether the axis is logarithmic.
    """

    name: str
    format: Format = decimal
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve of a line chart.

    Attributes:
        name: Its name.
        points: Pairs (x, y), in order.
        shape: Number of its colour and dash pattern, 0…5; None for a background curve.
    """

    name: str
    points: Sequence[tuple[float, float]]
    shape: int | None = 0


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a scatter plot.

    Attributes:
        x: Value on the horizontal axis.
        y: Value on the vertical axis.
        number: Number of its candidate on the page; None if the page does not have it.
        shape: Number of its colour and marker, 0…5.
        partial: Whether its score was computed on some of the examples only.
        title: Tooltip of a point without a number.
    """

    x: float
    y: float
    number: int | None
    shape: int = 0
    partial: bool = False
    title: str | None = None


def legend(names: Mapping[int, str], *, partial: bool = False) -> Markup:
    """Draws the legend of a chart.

    Args:
        names: Names of series by the number of their shape.
        partial: Whether the chart has partial scores.
    """
    entries = [(*_marker(shape), name) for shape, name in names.items()]
    if partial:
        entries.append((*_marker(None), "dropped early (partial score)"))
    items = [
        element(
            "li",
            element(
                "svg",
                element("path", d=f"M0 0{marker}", class_=class_),
                viewBox="-6 -6 12 12",
                aria_hidden="true",
            ),
            element("span", name),
        )
        for marker, class_, name in entries
    ]
    return element("ul", *items, class_="key")


def _marker(shape: int | None) -> tuple[str, str]:
    """Gives the path and the CSS class of a marker; without a shape, that of partial scores."""
    if shape is None:
        return _CROSS, "point partial"
    return _MARKERS[shape % SHAPES], f"point s{shape % SHAPES}"


def line_chart(lines: Sequence[Line], x: Scale, y: Scale, label: str) -> Markup:
    """Draws curves; those in the background have no dots."""
    frame = Frame(right=14)
    across = frame.across((point[0] for line in lines for point in line.points), log=x.log)
    up = frame.up((point[1] for line in lines for point in line.points), log=y.log)
    drawn = []
    for line in sorted(lines, key=lambda line: line.shape is not None):  # the background first
        places = [(across(x_), up(y_)) for x_, y_ in line.points]
        class_ = "back" if line.shape is None else f"s{line.shape % SHAPES}"
        dots = [
            element("circle", cx=cx, cy=cy, r=2.6)
            for cx, cy in places
            if math.isfinite(cx) and math.isfinite(cy) and len(places) <= _MOST_DOTS
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
    return frame.picture(*_axes(frame, across, x, up, y), *drawn, label=label)


def point_chart(
    points: Sequence[Point],
    x: Scale,
    y: Scale,
    label: str,
    *,
    stairs: Sequence[tuple[float, float]] = (),
    frame: Frame = _DEFAULT_FRAME,
    cursor: bool = False,
    interactive: bool = True,
) -> Markup:
    """Draws a scatter plot whose points can be hovered, walked over by keys and selected.

    Args:
        points: The points; those without a finite place are left out.
        x: The horizontal axis.
        y: The vertical axis.
        label: Description for screen readers.
        stairs: Corners of a step line, such as a Pareto front.
        frame: Size of the picture.
        cursor: Whether the page's script can mark a value of the horizontal axis.
        interactive: Whether it is on a page whose script reacts to the points.
    """
    across = frame.across((point.x for point in points), log=x.log)
    # Partial scores may be far off, so the full ones alone determine the range.
    up = frame.up((point.y for point in points if not point.partial), log=y.log)
    shown = [each for each in points if math.isfinite(across(each.x)) and math.isfinite(up(each.y))]
    drawn = []
    for point in sorted(shown, key=lambda point: not point.partial):
        marker, class_ = _marker(None if point.partial else point.shape)
        clipped = min(max(up(point.y), frame.top), frame.y_end)
        drawn.append(
            element(
                "path",  # not <use> of one symbol, which browsers draw far more slowly
                *(() if point.title is None else (element("title", point.title),)),
                d=f"{move_to(across(point.x), clipped)}{marker}",
                class_=class_,
                data_i=point.number,
            )
        )
    corners = list(_corners([(across(x_), up(y_)) for x_, y_ in stairs], across.end))
    extra = [path(corners, "front")] if corners else []
    if cursor:
        extra.append(path([(frame.left, frame.top), (frame.left, frame.y_end)], "cursor"))
    return frame.picture(
        *_axes(frame, across, x, up, y),
        *extra,
        element("g", *drawn, class_="points"),
        label=f"{label} {count(len(shown))} points{_KEYS if interactive else '.'}",
        **(_INTERACTIVE if interactive else {}),
    )


def _axes(frame: Frame, across: Axis, x: Scale, up: Axis, y: Scale) -> tuple[Markup, Markup]:
    return (
        frame.side(across, x.name, x.format, "bottom"),
        frame.side(up, y.name, y.format, "left"),
    )


def in_two_sizes(draw: Callable[..., Markup], height: float) -> Markup:
    """Draws a wide picture and a narrow one for phones, of which the page shows one.

    Args:
        draw: Draws the chart in the given ``frame``.
        height: Height of the wide picture.
    """
    sizes = (("if-wide", Frame(width=1080, height=height)), ("if-narrow", Frame(height=380)))
    return Markup("").join(element("div", draw(frame=frame), class_=name) for name, frame in sizes)


def _corners(places: Sequence[tuple[float, float]], end: float) -> Iterator[tuple[float, float]]:
    for (x, y), (following, _) in pairwise([*places, (end, 0.0)]):
        yield x, y
        yield following, y


@dataclass(frozen=True, kw_only=True)
class Group:
    """The sample of a histogram.

    Attributes:
        name: Name of the sample.
        values: The values.
        shape: Number of its colour, 0…5.
        note: Text after the name.
    """

    name: str
    values: Sequence[float]
    shape: int
    note: str = ""


def histograms(groups: Sequence[Group], x: Scale, label: str) -> Markup:
    """Draws a histogram for each group, stacked, with lines at the median and the best value."""
    row = 100 if len(groups) <= 3 else 64
    frame = Frame(height=row * len(groups) + 60, left=14, top=8)
    finite = [[v for v in group.values if math.isfinite(v)] for group in groups]
    across = frame.across((v for values in finite for v in values), log=x.log)
    drawn = [
        _histogram(group, values, across, frame.top + row * (number + 1), row - 24, x)
        for number, (group, values) in enumerate(zip(groups, finite, strict=True))
    ]
    return frame.picture(frame.side(across, x.name, x.format, "bottom"), *drawn, label=label)


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
            title = element("title", f"{class_}: {x.format(value)}")
            parts.append(element("g", title, line))
    return element("g", *parts, class_=f"bars s{group.shape % SHAPES}")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate with its confidence interval.

    Attributes:
        name: Name of the quantity.
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        main: Whether the other estimates are compared with this one.
    """

    name: str
    value: float
    low: float
    high: float
    main: bool = False


def intervals(estimates: Sequence[Estimate], x: Scale, label: str) -> Markup:
    """Draws estimates with their confidence intervals, one below the other."""
    row, letter = 30, 7  # units of the picture; a letter is at most so wide on average
    longest = max((len(each.name) for each in estimates), default=0)
    frame = Frame(height=row * len(estimates) + 62, left=max(150, 10 + letter * longest), top=8)
    across = frame.across(
        [0.0, *(v for each in estimates for v in (each.low, each.high, each.value))]
    )
    drawn = []
    for number, each in enumerate(estimates):
        y = frame.top + row * (number + 0.5)
        at = across(each.value)
        if not math.isfinite(at):
            continue
        low, high = (
            across(end if math.isfinite(end) else each.value) for end in (each.low, each.high)
        )
        value = x.format(each.value)
        drawn.append(
            element(
                "g",
                element("title", f"{each.name}: {value} [{each.low:.3f}, {each.high:.3f}]"),
                text(frame.left - 10, y + 4, each.name, anchor="end"),
                path([(low, y), (high, y)], "line"),
                element("circle", cx=at, cy=y, r=5),
                text(min(at, frame.x_end - 24), y - 8, value, "value", "middle"),
                class_=f"interval {'s0' if each.main else 'back'}",
            )
        )
    zero = path([(across(0), frame.top), (across(0), frame.y_end)], "base")
    side = frame.side(across, x.name, x.format, "bottom")
    return frame.picture(side, zero, *drawn, label=label)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of a bar chart.

    Attributes:
        name: Its name.
        value: Its length as a share of the full width, 0…1.
    """

    name: str
    value: float


def bar_list(bars: Sequence[Bar], format_: Format) -> Markup:
    """Draws horizontal bars as an HTML list, so that long names wrap."""
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
            element("span", format_(bar.value), class_="bar-value"),
        )
        for bar in bars
    ]
    return element("ul", *items, class_="bar-list")


def count_table(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Markup:
    """Draws a confusion matrix as a table, darker where a class is often taken for another."""
    columns = [element("th", name, scope="col") for name in names]
    head = element("tr", element("th", "class", scope="col"), *columns)
    rows = []
    for place, (name, row) in enumerate(zip(names, counts, strict=True)):
        whole = max(1, sum(row))
        cells = [
            element(
                "td",
                str(count or "·"),
                class_="right" if place == column else "wrong",
                style=f"--share:{100 * count / whole:.0f}%",
            )
            for column, count in enumerate(row)
        ]
        rows.append(element("tr", element("th", name, scope="row"), *cells))
    return element("table", element("thead", head), element("tbody", *rows), class_="confusion")
