"""The drawing of an architecture: what it is, and who draws what.

A drawing is a piece of HTML with SVG in it. Its colours are those of the page's style sheet. What
belongs to one op carries ``data-op``: the number of its figure and its number there, by which an
item of the figure's list says it in words. So two drawings can be compared part by part.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any

from markupsafe import Markup

from smash.reporting.formatting import decimal
from smash.reporting.svg import element
from smash.study.study import Candidate


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


LARGEST = 5_900_000
"""Bytes of a page."""

_ENTRY = len('"2999": "", ')  # of a drawing on the page, beside the drawing


def pack(html: str) -> str:
    """Deflates text, as a browser's ``deflate-raw`` reads it, and writes that as base64."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return base64.b64encode(squeeze.compress(html.encode()) + squeeze.flush()).decode()


def unpack(packed: str) -> str:
    """Reads what `pack` wrote."""
    return zlib.decompress(base64.b64decode(packed), -zlib.MAX_WBITS).decode()


def pack_drawings(
    candidates: Iterable[Candidate], draw: Callable[[Candidate], Drawing], room: int
) -> dict[str, str]:
    """Draws candidates until the room is used up.

    Args:
        candidates: Those that matter most first.
        draw: Draws one.
        room: Bytes that all may take together.

    Returns:
        Packed drawings by the candidate's id.
    """
    packed: dict[str, str] = {}
    for candidate in candidates:
        one = pack(draw(candidate).html)
        room -= _ENTRY + len(one)
        if room < 0:
            break
        packed[candidate.id] = one
    return packed
