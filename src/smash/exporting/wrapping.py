"""Lines of Python no longer than a person would write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

WIDTH = 100
"""Letters of a line, at most."""


def list_code(values: Sequence[Any]) -> str:
    """A tuple on one line, or on as many as it has entries."""
    words = [json.dumps(one) if isinstance(one, str) else repr(one) for one in values]
    line = f"({', '.join(words)}{',' * (len(words) == 1)})"
    if len(line) < WIDTH - 10:
        return line
    return "(\n" + "".join(f"    {word},\n" for word in words) + ")"


def wrap(line: str) -> list[str]:
    """A line, or the same on several: what is in its last brackets is put below each other."""
    if len(line) <= WIDTH or line.lstrip().startswith('"""'):
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    place = _brackets(line)
    if place is None:
        return [line]
    begin, end, commas = place
    cuts = [begin, *commas, end]
    pieces = [line[a + 1 : b].strip() for a, b in pairwise(cuts)]
    pieces = [piece for piece in pieces if piece]
    inner = [f"{indent}    {piece}," for piece in pieces]
    return [
        line[: begin + 1],
        *(one for piece in inner for one in wrap(piece)),
        indent + line[end:],
    ]


def _brackets(line: str) -> tuple[int, int, list[int]] | None:
    """Where the last outermost brackets that hold anything begin and end, and their commas."""
    found, depth, begin, quote = None, 0, 0, ""
    commas: list[int] = []
    for place, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote and line[place - 1] != "\\" else quote
        elif sign in "\"'":
            quote = sign
        elif sign in "([{":
            if not depth:
                begin, commas = place, []
            depth += 1
        elif sign in ")]}":
            depth -= 1
            if not depth and place > begin + 1:
                found = (begin, place, commas)
        elif sign == "," and depth == 1:
            commas = [*commas, place]
    return found
