"""The drawing of an architecture: what it is, and who draws what.

A drawing is a piece of HTML with SVG in it. Its colours are those of the page's style sheet. What
belongs to one op carries ``data-op``: the number of its figure and its number there, by which an
item of the figure's list says it in words. So two drawings can be compared part by part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

from markupsafe import Markup

from smash.reporting.svg import element
from smash.reporting.words import decimal


class Drawing:
    """An architecture in words, and drawn when it is looked at.

    Args:
        words: The architecture in a few words.
        draw: Draws it.
    """

    def __init__(self, words: str, draw: Callable[[], Markup]) -> None:
        self.words = words
        self._draw = draw

    @cached_property
    def html(self) -> Markup:
        """The drawing."""
        return self._draw()


Draw = Callable[[Mapping[str, Any]], Drawing]
"""Draws an architecture that is given as JSON."""

_LONGEST = 20_000  # letters of JSON that are shown


def draw_plainly(value: Mapping[str, Any], readable: Mapping[str, float]) -> Drawing:
    """Shows an architecture of any space: its readable features, and its JSON.

    Args:
        value: The architecture as JSON.
        readable: A few of its features by name.
    """
    words = ", ".join(f"{name} {decimal(number)}" for name, number in readable.items())
    return Drawing(
        words or json.dumps(value, ensure_ascii=False)[:120], partial(_plainly, value, readable)
    )


def _plainly(value: Mapping[str, Any], readable: Mapping[str, float]) -> Markup:
    features = [
        element("div", element("dt", name), element("dd", decimal(number)))
        for name, number in readable.items()
    ]
    document = json.dumps(value, indent=2, ensure_ascii=False)
    if len(document) > _LONGEST:
        document = f"{document[:_LONGEST]}\n… and {len(document) - _LONGEST:,} letters more"
    parts = [element("dl", *features, class_="features")] if features else []
    return element("div", *parts, element("pre", document), class_="drawing plain")
