"""The pages of the documentation, taken apart into blocks and commands."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_BLOCK = re.compile(
    r"(?:<!-- (?:not run: (?P<reason>[^>]+)"
    r"|(?P<transcript>transcript)(?: after: (?P<before>[^>]*))?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    flags=re.DOTALL | re.MULTILINE,
)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: The page.
        line: Line at which the block begins.
        language: Language of the fence.
        text: Content of the block.
        reason: Reason not to run it, from the comment in front of it; None if it is to be run.
        transcript: Whether `benchmarks.transcripts` writes its output.
        before: Commands that a transcript runs before it and does not show.
    """

    page: Path
    line: int
    language: str
    text: str
    reason: str | None
    transcript: bool
    before: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @cached_property
    def commands(self) -> list[list[str]]:
        """Its commands as words: all lines of ``sh``, lines after a ``$`` of ``console``.

        Those that run before it without being shown come first.
        """
        text = self.text.replace("\\\n", " ")
        if self.language == "console":
            text = "\n".join(re.findall(r"^\$ (.*)$", text, flags=re.MULTILINE))
        text = self.before.replace("; ", "\n") + "\n" + text
        lines = (shlex.split(line, comments=True) for line in text.splitlines())
        return [words for words in lines if words]


def blocks(page: Path) -> list[Block]:
    """Finds all blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text[: found.start("language")].count("\n") + 1,
            found["language"],
            found["text"],
            found["reason"],
            found["transcript"] is not None,
            found["before"] or "",
        )
        for found in _BLOCK.finditer(text)
    ]


def spans(page: Path) -> list[str]:
    """Finds the code within sentences and tables of a page."""
    return _SPAN.findall(_BLOCK.sub("", page.read_text(encoding="utf-8")))
