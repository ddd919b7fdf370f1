"""A scatter plot as one small SVG file."""

from __future__ import annotations

import textwrap
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
