"""The pages that are shown to users, taken apart: their blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    flags=re.DOTALL | re.MULTILINE,
)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced piece of a page.

    Attributes:
        page: The page.
        line: Where the piece begins.
        language: What it is written in.
        text: The piece.
        reason: Why it is not run, by the comment in front of it; None where it is to be run.
    """

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @cached_property
    def commands(self) -> list[list[str]]:
        """Its commands in words: each line of `sh`, each line of `console` after a ``$``."""
        text = self.text.replace("\\\n", " ")
        if self.language == "console":
            text = "\n".join(re.findall(r"^\$ (.*)$", text, flags=re.MULTILINE))
        lines = (shlex.split(line, comments=True) for line in text.splitlines())
        return [words for words in lines if words]


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(
            page,
            text[: found.start("language")].count("\n") + 1,
            found["language"],
            found["text"],
            found["reason"],
        )
        for found in _BLOCK.finditer(text)
    ]


def spans(page: Path) -> list[str]:
    """What stands as code within sentences and tables."""
    return _SPAN.findall(_BLOCK.sub("", page.read_text()))
