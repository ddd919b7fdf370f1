"""SVG and HTML elements with all text escaped, and the axes of charts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from textwrap import shorten
from typing import Literal

from markupsafe import Markup, escape

Format = Callable[[float], str]
"""Formats a number on an axis."""

_STEPS = (1.0, 2.0, 5.0, 10.0)  # between ticks, times a power of ten

_FILE_STYLE = (
    "text{font:12px sans-serif;fill:#59616d}.name{fill:#1b1e24}.grid{stroke:#eceae2}"
    ".point{fill:#2a58c8;fill-opacity:.6}"
)
_LETTER = 7  # width of a letter of that style, at most on average


def element(name: str, *content: str | Markup, **attributes: str | float | None) -> Markup:
    """Builds an element; content and attributes are escaped unless they are `Markup`.

    Args:
        name: Name of the element.
        *content: Its text and elements, in order.
        **attributes: Its attributes; ``_`` stands for ``-``, a final ``_`` is dropped, and an
            attribute of None is left out.

    Example:
        >>> print(element("text", "a < b", x=1.5, class_="name", text_anchor=None))
        <text x="1.5" class="name">a &lt; b</text>
    """
    parts = ["<", name]
    for key, value in attributes.items():
        if value is not None:
            written = escape(value) if isinstance(value, str) else _coordinate(value)
            parts += (" ", _attribute(key), '="', written, '"')
    # Joined as strings: Markup escapes at each addition, and a drawing has thousands of parts.
    parts += (">", *(str(escape(each)) for each in content), "</", name, ">")
    return Markup("".join(parts))  # noqa: S704 # escaped above


@cache
def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def text(
    x: float, y: float, content: str, class_: str | None = None, anchor: str | None = None
) -> Markup:
    """Builds a text element."""
    return element("text", content, x=x, y=y, class_=class_, text_anchor=anchor)


def path(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """Builds a line through points; a point that is not finite interrupts it."""
    parts, pen = [], "M"
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            parts.append(f"{pen}{_coordinate(x)} {_coordinate(y)}")
            pen = "L"
        else:
            pen = "M"
    return element("path", d="".join(parts), class_=class_)


def move_to(x: float, y: float) -> str:
    """Gives the first command of a path that begins at a point."""
    return f"M{_coordinate(x)} {_coordinate(y)}"


def translate(x: float, y: float) -> str:
    """Gives the ``transform`` that moves an element from the origin to a point."""
    return f"translate({_coordinate(x)} {_coordinate(y)})"


def _coordinate(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")  # a tenth of a pixel is invisible


@dataclass(frozen=True)
class Axis:
    """Maps values to coordinates along one side of a chart.

    Attributes:
        low: The value at `start`.
        high: The value at `end`.
        start: A coordinate, in units of the picture.
        end: A coordinate; less than `start` for a vertical axis.
        log: Whether the axis is logarithmic.

    Example:
        >>> axis = Axis(low=1, high=100, start=0, end=200, log=True)
        >>> axis(10)
        100.0
        >>> axis.ticks(most=3)
        [1.0, 10.0, 100.0]
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(
        cls,
        values: Iterable[float],
        start: float,
        end: float,
        *,
        log: bool = False,
        margin: float = 0.04,
    ) -> Axis:
        """Makes an axis for all finite values, with `margin` of their range at both ends."""
        finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
        low, high = (min(finite), max(finite)) if finite else (1.0, 2.0)
        if log:
            room = (high / low) ** margin if high > low else 1.5
            return cls(low / room, high * room, start, end, log)
        room = margin * (high - low) or abs(low) * 0.5 or 0.5
        return cls(low - room, high + room, start, end, log)

    def __call__(self, value: float) -> float:
        """Gives the coordinate of a value; NaN if it has none."""
        if not math.isfinite(value) or (self.log and value <= 0):
            return math.nan
        low, high = (math.log(each) if self.log else each for each in (self.low, self.high))
        share = ((math.log(value) if self.log else value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Gives at most so many round values on the axis."""
        if self.log and self.high / self.low > most:
            return _thinned(_round_ratios(self.low, self.high), most)
        return _round_steps(self.low, self.high, most)


def _round_steps(low: float, high: float, most: int) -> list[float]:
    magnitude = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = (step * magnitude for step in _STEPS)
    step = next(each for each in steps if (high - low) / each < most)
    first = math.ceil(low / step)
    last = math.floor(high / step)
    # Rounded because 3 · 0.1 is 0.30000000000000004.
    return [round(step * index, 12) for index in range(first, last + 1)]


def _round_ratios(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers = [step * 10.0**exponent for exponent in exponents for step in (1, 2, 5)]
    within = [number for number in numbers if low <= number <= high]
    tens = [number for number in within if math.log10(number).is_integer()]
    return tens if len(tens) > 3 else within


def _thinned(numbers: list[float], most: int) -> list[float]:
    return numbers[:: math.ceil(len(numbers) / most)] if numbers else numbers


@dataclass(frozen=True)
class Frame:
    """Size and margins of a chart, in units of the picture.

    Attributes:
        width: Width of the picture.
        height: Height of the picture.
        left: Margin left of the plotting area.
        bottom: Margin below it.
        top: Margin above it.
        right: Margin right of it.
    """

    width: float = 520
    height: float = 300
    left: float = 62
    bottom: float = 46
    top: float = 14
    right: float = 14

    @property
    def x_end(self) -> float:
        """Right end of the plotting area."""
        return self.width - self.right

    @property
    def y_end(self) -> float:
        """Lower end of the plotting area."""
        return self.height - self.bottom

    def across(self, values: Iterable[float], *, log: bool = False) -> Axis:
        """Makes the horizontal axis for values."""
        return Axis.over(values, self.left, self.x_end, log=log)

    def up(self, values: Iterable[float], *, log: bool = False) -> Axis:
        """Makes the vertical axis for values."""
        return Axis.over(values, self.y_end, self.top, log=log)

    def side(
        self, axis: Axis, name: str, format_: Format, where: Literal["bottom", "left"]
    ) -> Markup:
        """Draws an axis: a grid line and a number for each tick, and its name."""
        parts = []
        for value in axis.ticks():
            at = axis(value)
            if where == "bottom":
                parts.append(path([(at, self.top), (at, self.y_end)], "grid"))
                parts.append(text(at, self.y_end + 17, format_(value), anchor="middle"))
            else:
                parts.append(path([(self.left, at), (self.x_end, at)], "grid"))
                parts.append(text(self.left - 7, at + 4, format_(value), anchor="end"))
        if where == "bottom":
            middle = (self.left + self.x_end) / 2
            parts.append(text(middle, self.height - 7, name, "name", "middle"))
        else:
            middle = (self.top + self.y_end) / 2
            turned = f"translate(13 {middle:.1f}) rotate(-90)"
            parts.append(
                element("text", name, transform=turned, class_="name", text_anchor="middle")
            )
        return element("g", *parts, class_="axis")

    def picture(self, *content: Markup, label: str, class_: str = "", **others: str) -> Markup:
        """Builds the SVG element of a chart.

        Args:
            *content: Its parts.
            label: Description for screen readers.
            class_: Further CSS classes.
            **others: Further attributes.
        """
        return element(
            "svg",
            *content,
            viewBox=f"0 0 {_coordinate(self.width)} {_coordinate(self.height)}",
            class_=f"chart {class_}".strip(),
            aria_label=label,
            **{"role": "img", **others},
        )

    def file(self, picture: Markup, *lines: str) -> str:
        """Gives the text of an SVG file that shows a chart on its own.

        Args:
            picture: The chart, with this frame.
            *lines: Lines in the top margin; what does not fit into the width is cut off.
        """
        most = int(self.width / _LETTER)
        shown = [shorten(line, most, placeholder=" …") for line in lines]
        head = [
            element("style", _FILE_STYLE),
            element("rect", width=self.width, height=self.height, fill="#fff"),
            *(
                text(self.width / 2, 24 + 20 * n, line, "name", "middle")
                for n, line in enumerate(shown)
            ),
        ]
        opening, _, rest = str(picture).partition(">")
        size = f'width="{_coordinate(self.width)}" height="{_coordinate(self.height)}"'
        return f'{opening} {size} xmlns="http://www.w3.org/2000/svg">{"".join(head)}{rest}\n'
