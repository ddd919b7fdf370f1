"""Drawings, small enough for a page: each deflated by itself, and only so many as fit."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable

from smash.reporting.drawing import Drawing
from smash.study import Candidate

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
