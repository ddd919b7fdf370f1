"""Drawings of architectures: HTML with SVG in it, in the colours of the page's style sheet.

The parts of one operation carry ``data-op``, the number of its figure and its number there, by
which the page's script finds the operation's sentence, and compares two drawings part by part.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any

from markupsafe import Markup

from smash.reporting.formatting import decimal, encoded
from smash.reporting.svg import element
from smash.study.candidate import Candidate


class Drawing:
    """An architecture in words, and a drawing that is made when it is needed.

    Args:
        words: Describes the architecture in a few words.
        draw: Makes the drawing.
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

_LONGEST = 20_000  # characters of JSON that are shown


def draw_plainly(value: Mapping[str, Any], readable: Mapping[str, float]) -> Drawing:
    """Shows an architecture of any space by its readable features and its JSON.

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
        more = len(document) - _LONGEST
        document = f"{document[:_LONGEST]}\n… and {more:,} characters more"
    parts = [element("dl", *features, class_="features")] if features else []
    return element("div", *parts, element("pre", document), class_="drawing plain")


def block_figure(
    title: str, subtitle: str, picture: Markup, output: str, sentences: Iterable[str]
) -> Markup:
    """Frames the picture of one block of a network.

    Args:
        title: Name of the block.
        subtitle: Describes the block.
        picture: The picture.
        output: Describes what follows the block.
        sentences: Describe its operations, in order; hidden until they are asked for.
    """
    return element(
        "figure",
        element("figcaption", element("b", title), element("span", subtitle)),
        element("div", picture, class_="scroll"),
        element("p", output, class_="way-out"),
        element(
            "details",
            element("summary", "In words"),
            element("ol", *(element("li", sentence) for sentence in sentences)),
        ),
        class_="block",
    )


def block_picture(width: float, height: float, label: str, parts: Iterable[Markup]) -> Markup:
    """Builds the SVG element of a block, which the page shows in about its natural width."""
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        style=f"--natural:{width:.0f}px",
        role="img",
        aria_label=label,
    )


LARGEST = 5_900_000
"""Bytes of a page."""

_ENTRY = len('"2999": "", ')  # bytes of a drawing's entry on the page, without the drawing


def pack(html: str) -> str:
    """Compresses text as base64 of ``deflate-raw``, which browsers can decompress."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return base64.b64encode(squeeze.compress(encoded(html)) + squeeze.flush()).decode()


def unpack(packed: str) -> str:
    """Decompresses the text of `pack`."""
    return zlib.decompress(base64.b64decode(packed), -zlib.MAX_WBITS).decode()


def pack_drawings(
    candidates: Iterable[Candidate], draw: Callable[[Candidate], Drawing], room: int
) -> dict[str, str]:
    """Packs drawings of candidates until the room is used up.

    Args:
        candidates: The candidates, the most interesting first.
        draw: Draws a candidate.
        room: Bytes that all drawings may take together.

    Returns:
        Packed drawings by the candidate's id.
    """
    packed: dict[str, str] = {}
    for candidate in candidates:
        drawing = pack(draw(candidate).html)
        room -= _ENTRY + len(drawing)
        if room < 0:
            break
        packed[candidate.id] = drawing
    return packed
