"""Numbers that were measured of architectures, kept so that nothing is measured twice.

A file of JSON lines, one an architecture and a kind of number. Lines are added and never changed; a
last line that a kill left unfinished is passed over, and cut off when the next ones are added.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from smash.errors import RunStateError
from smash.io.files import append, make_folder, read_lines
from smash.io.locks import exclusive
from smash.runtime.progress import Progress, silent
from smash.runtime.signals import hear_interruption

A = TypeVar("A")
Numbers = Mapping[str, float]

_MEND = "delete the file, and what it held is measured again"
_LINES_A_WRITE = 10  # as many are lost by a kill; a sync for each would cost more than a score


class Ledger:
    """The file, and what is in it.

    Args:
        path: Where it is; it is made when the first number is kept.

    Raises:
        RunStateError: It is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[tuple[str, str], Numbers] = {}
        self._new: list[str] = []
        for number, entry in enumerate(read_lines(path, _MEND), start=1):
            try:
                values = {
                    name: math.nan if value is None else float(value)
                    for name, value in entry["values"].items()
                }
                self._found[entry["kind"], entry["id"]] = _Line(values, path)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                raise RunStateError(f"{path} is damaged in line {number}: {_MEND}") from None

    def get(self, kind: str, identity: str) -> Numbers | None:
        """What is known of an architecture; a number that is not finite is NaN."""
        return self._found.get((kind, identity))

    def __iter__(self) -> Iterator[tuple[str, str, Numbers]]:
        """Kind, architecture's id and numbers, in the order in which they were first kept."""
        for (kind, identity), values in self._found.items():
            yield kind, identity, values

    def add(self, kind: str, identity: str, values: Numbers) -> None:
        """Keeps numbers, on the disk after at most ten more, or `flush`."""
        # JSON has no infinity: all that is not finite becomes null.
        plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._found[kind, identity] = _Line(
            {name: value if math.isfinite(value) else math.nan for name, value in values.items()},
            self._path,
        )
        self._new.append(json.dumps({"kind": kind, "id": identity, "values": plain}) + "\n")
        if len(self._new) >= _LINES_A_WRITE:
            self.flush()

    def flush(self) -> None:
        """Puts what is new on the disk."""
        if not self._new:
            return
        make_folder(self._path.parent)
        with exclusive(self._path):
            append(self._path, "".join(self._new))
        self._new.clear()

    def measure(
        self,
        kind: str,
        architectures: Iterable[tuple[str, A]],
        measured: Callable[[A], Numbers],
        progress: Progress = silent,
    ) -> list[Numbers]:
        """Measures architectures of which nothing is known yet; an interruption loses nothing.

        Args:
            kind: What is measured, with all settings that change it.
            architectures: Ids and architectures.
            measured: Measures an architecture.
            progress: Shows how far it is.

        Returns:
            The numbers of each, in order.
        """
        wanted = list(architectures)
        open_ = [pair for pair in wanted if self.get(kind, pair[0]) is None]
        if open_:
            self._measure(kind, open_, measured, progress)
        return [self._found[kind, identity] for identity, _ in wanted]

    def _measure(
        self,
        kind: str,
        wanted: Sequence[tuple[str, A]],
        measured: Callable[[A], Numbers],
        progress: Progress,
    ) -> None:
        label = kind.partition(" ")[0]
        with hear_interruption() as interruption, progress(label, len(wanted)) as advance:
            try:
                for done, (identity, architecture) in enumerate(wanted, start=1):
                    if self.get(kind, identity) is None:
                        with interruption.at_once():
                            found = measured(architecture)
                        self.add(kind, identity, found)
                    advance(done, "")
                    interruption.check()
            finally:
                self.flush()


class _Line(dict[str, float]):
    """Numbers as they were read: one that is asked for and not there is a fault of the file."""

    def __init__(self, values: Numbers, path: Path) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, name: str) -> float:
        raise RunStateError(f"{self._path} is damaged: {name!r} is missing: {_MEND}")


def kind_of(name: str, **settings: Any) -> str:
    """Names what is measured together with its settings: ``naswot images=128 seed=0``."""
    return " ".join([name, *(f"{key}={value}" for key, value in sorted(settings.items()))])
