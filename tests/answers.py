"""What a command answered."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import dropwhile


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str
    program: str = "smash"

    @property
    def faults(self) -> list[str]:
        """The fault lines: all of stderr from the first on; before it, data may be described."""
        lines = self.err.splitlines()
        return list(dropwhile(lambda line: not line.startswith(f"{self.program}: "), lines))
