"""Text of unknown origin, such as class names and file names, made safe to print."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

# Control codes (Cc), lone surrogates (Cs) and separators of lines and paragraphs (Zl, Zp).
_ESCAPED = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Marks, embeddings, overrides and isolates that change the direction of the text around them.
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: object) -> str:
    r"""Escapes characters that could control a terminal or hide other text.

    Escape sequences, line breaks, lone surrogates and marks of writing direction become Python
    escapes; letters, symbols and emoji of any script are kept.

    Args:
        text: A string, or what ``str`` makes one of, such as a path.

    Returns:
        One line of text.

    Example:
        >>> print(printable("\x1b[31mred\nrêd 💥"))
        \x1b[31mred\nrêd 💥
    """
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _ESCAPED or character in _DIRECTIONS
        else character
        for character in str(text)
    )


def as_size(extents: Iterable[int]) -> str:
    """Words a shape or a size, such as ``32x32``; ``()`` for that of a scalar."""
    return "x".join(map(str, extents)) or "()"


def is_utf8(name: object) -> bool:
    """Says whether a name from the file system was valid UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in str(name))


def text_digest(text: str) -> str:
    """Computes twelve digits that identify a text."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]
