"""Runs commands in this process and captures their answers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

import pytest

from smash.cli import main as cli

TRAIN = "train digits --space memory-bank --preset tiny -o depth=1 -o max_width=16 --device cpu"
"""Trains the space of `tests.conftest.TINY`."""


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str
    program: str = "smash"

    @property
    def faults(self) -> list[str]:
        """The lines of standard error from the first fault on."""
        lines = self.err.splitlines()
        return list(dropwhile(lambda line: not line.startswith(f"{self.program}: "), lines))


def call(*argv: str) -> int:
    """Runs a command in this process and returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["smash", *argv])
        with pytest.raises(SystemExit) as left:
            cli.main()
    assert isinstance(left.value.code, int)
    return left.value.code


def content(folder: Path) -> dict[str, bytes | None]:
    """Reads a folder: its paths, and the bytes of each file (None for a folder)."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
