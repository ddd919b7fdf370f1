"""Pieces of SVG, with all words escaped, and the axes of charts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from markupsafe import Markup, escape

Words = Callable[[float], str]
"""How a number on an axis is written."""

_STEPS = (1.0, 2.0, 5.0, 10.0)  # of ticks, times a power of ten


def element(name: str, *content: str | Markup, **attributes: str | float | None) -> Markup:
    """An element: content and attributes are escaped unless they are markup already.

    Args:
        name: Its name.
        *content: What is in it, in order.
        **attributes: Attributes; ``_`` stands for ``-``, a last ``_`` is dropped, and an attribute
            of None is left out.
    """
    parts = ["<", name]
    for key, value in attributes.items():
        if value is not None:
            written = escape(value) if isinstance(value, str) else _plain(value)
            parts += (" ", _attribute(key), '="', written, '"')
    # A Markup escapes what is added to it; a drawing has thousands of parts, so they are strings.
    parts += (">", *(str(escape(each)) for each in content), "</", name, ">")
    return Markup("".join(parts))  # noqa: S704 # escaped above


@cache
def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def text(
    x: float, y: float, words: str, class_: str | None = None, anchor: str | None = None
) -> Markup:
    """Words at a place."""
    return element("text", words, x=x, y=y, class_=class_, text_anchor=anchor)


def path(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """A line through points; a point that is not finite interrupts it."""
    parts, pen = [], "M"
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            parts.append(f"{pen}{_plain(x)} {_plain(y)}")
            pen = "L"
        else:
            pen = "M"
    return element("path", d="".join(parts), class_=class_)


def place(x: float, y: float) -> str:
    """A place as a path begins with it."""
    return f"M{_plain(x)} {_plain(y)}"


def moved(x: float, y: float) -> str:
    """The attribute ``transform`` of what is drawn at 0 and belongs elsewhere."""
    return f"translate({_plain(x)} {_plain(y)})"


def _plain(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.1f}".removesuffix(".0")  # a tenth of a pixel is not seen


@dataclass(frozen=True)
class Axis:
    """Maps numbers to places along one side of a chart.

    Attributes:
        low: The number at `start`.
        high: The number at `end`.
        start: A place, in units of the picture.
        end: A place; before `start` for an axis that goes up.
        log: Whether equal ratios, not differences, are equally long.
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
        """An axis that has room for all finite values, and `margin` of its length at both ends."""
        finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
        low, high = (min(finite), max(finite)) if finite else (1.0, 2.0)
        if log:
            room = (high / low) ** margin if high > low else 1.5
            return cls(low / room, high * room, start, end, log)
        room = margin * (high - low) or abs(low) * 0.5 or 0.5
        return cls(low - room, high + room, start, end, log)

    def __call__(self, value: float) -> float:
        """The place of a value; NaN for one that has none."""
        if not math.isfinite(value) or (self.log and value <= 0):
            return math.nan
        low, high = (math.log(each) if self.log else each for each in (self.low, self.high))
        share = ((math.log(value) if self.log else value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers on the axis, at most so many."""
        if self.log and self.high / self.low > most:
            return _thinned(_round_ratios(self.low, self.high), most)
        return _round_steps(self.low, self.high, most)


def _round_steps(low: float, high: float, most: int) -> list[float]:
    magnitude = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = (step * magnitude for step in _STEPS)
    step = next(each for each in steps if (high - low) / each < most)
    first = math.ceil(low / step)
    last = math.floor(high / step)
    # Rounded, so that 3 · 0.1 is 0.3.
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
    """The plotting area of a chart, with its axes: what all charts have in common.

    Attributes:
        width: Of the whole picture.
        height: Likewise.
        left: Width of what is left of the plotting area.
        bottom: Height of what is below it.
        top: Height of what is above it.
        right: Width of what is right of it.
    """

    width: float = 520
    height: float = 300
    left: float = 62
    bottom: float = 46
    top: float = 14
    right: float = 14

    @property
    def x_end(self) -> float:
        """Where the plotting area ends on the right."""
        return self.width - self.right

    @property
    def y_end(self) -> float:
        """Where it ends at the bottom."""
        return self.height - self.bottom

    def across(self, values: Iterable[float], *, log: bool = False) -> Axis:
        """The horizontal axis for these values."""
        return Axis.over(values, self.left, self.x_end, log=log)

    def up(self, values: Iterable[float], *, log: bool = False) -> Axis:
        """The vertical axis for these values."""
        return Axis.over(values, self.y_end, self.top, log=log)

    def side(self, axis: Axis, name: str, words: Words, where: Literal["bottom", "left"]) -> Markup:
        """Draws an axis: a faint line and a number for each tick, and its name."""
        parts = []
        for value in axis.ticks():
            at = axis(value)
            if where == "bottom":
                parts.append(path([(at, self.top), (at, self.y_end)], "grid"))
                parts.append(text(at, self.y_end + 17, words(value), anchor="middle"))
            else:
                parts.append(path([(self.left, at), (self.x_end, at)], "grid"))
                parts.append(text(self.left - 7, at + 4, words(value), anchor="end"))
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
        """The whole picture.

        Args:
            *content: What is in it.
            label: What it shows, for who does not see it.
            class_: Further classes.
            **others: Further attributes.
        """
        return element(
            "svg",
            *content,
            viewBox=f"0 0 {_plain(self.width)} {_plain(self.height)}",
            class_=f"chart {class_}".strip(),
            aria_label=label,
            **{"role": "img", **others},
        )
