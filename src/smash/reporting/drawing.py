"""The drawing of an architecture: what it is, and who draws what.

A drawing is a piece of HTML with SVG in it. Its colours are those of the page's style sheet. What
belongs to one op carries ``data-op``: the number of its figure and its number there, by which an
item of the figure's list says it in words. So two drawings can be compared part by part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from smash.reporting.svg import element
from smash.reporting.words import decimal


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A drawn architecture.

    Attributes:
        html: The drawing.
        words: The architecture in a few words.
    """

    html: Markup
    words: str


Draw = Callable[[Mapping[str, Any]], Drawing]
"""Draws an architecture that is given as JSON."""

_LONGEST = 20_000  # letters of JSON that are shown


def draw_plainly(value: Mapping[str, Any], readable: Mapping[str, float]) -> Drawing:
    """Shows an architecture of any space: its readable features, and its JSON.

    Args:
        value: The architecture as JSON.
        readable: A few of its features by name.
    """
    features = [
        element("div", element("dt", name), element("dd", decimal(number)))
        for name, number in readable.items()
    ]
    document = json.dumps(value, indent=2, ensure_ascii=False)
    if len(document) > _LONGEST:
        document = f"{document[:_LONGEST]}\n… and {len(document) - _LONGEST:,} letters more"
    parts = [element("dl", *features, class_="features")] if features else []
    words = ", ".join(f"{name} {decimal(number)}" for name, number in readable.items())
    return Drawing(
        html=element("div", *parts, element("pre", document), class_="drawing plain"),
        words=words or json.dumps(value, ensure_ascii=False)[:120],
    )
