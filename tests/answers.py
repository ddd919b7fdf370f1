"""Commands that are run in this process, and what they answered."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

import pytest

from smash.cli import main as cli


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


def call(*argv: str) -> int:
    """Runs a command in this process and gives its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["smash", *argv])
        with pytest.raises(SystemExit) as left:
            cli.main()
    assert isinstance(left.value.code, int)
    return left.value.code


def content(folder: Path) -> dict[str, bytes | None]:
    """All that lies in a folder: every path, and the bytes of every file."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
