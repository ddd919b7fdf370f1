"""A log of numbers that were measured of architectures, so that nothing is measured twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from smash.errors import RunStateError
from smash.io.files import append, make_folder, read_lines
from smash.io.locks import exclusive
from smash.runtime.progress import Progress, silent
from smash.runtime.signals import hear_interruption

A = TypeVar("A")
Numbers = Mapping[str, float]

_REMEDY = "delete the file, and its numbers are measured again"
_LINES_PER_WRITE = 10  # a kill loses these; to sync each line would cost more than a score


class _Line(BaseModel):
    """A line of the file; None stands for a number that is not finite, which JSON lacks."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: str
    id: str
    values: dict[str, float | None]


class MeasurementLog:
    """A file of JSON lines, one for each architecture and kind of measurement.

    Lines are appended and never changed. Several processes may append to the same file.

    Args:
        path: The file, which is created with the first measurement.

    Raises:
        RunStateError: The file is damaged.

    Example:
        >>> log = MeasurementLog(Path("latency.jsonl"))
        >>> log.measure("length", [("a", "conv"), ("b", "identity")], lambda name: {"n": len(name)})
        [{'n': 4}, {'n': 8}]
        >>> MeasurementLog(Path("latency.jsonl")).get("length", "b")
        {'n': 8.0}
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[str, str], Numbers] = {}
        self._new: list[str] = []
        for number, row in enumerate(read_lines(path, _REMEDY), start=1):
            try:
                line = _Line.model_validate(row)
            except ValidationError:
                raise RunStateError(f"{path} is damaged in line {number}: {_REMEDY}") from None
            self._keep(line)

    def get(self, kind: str, identity: str) -> Numbers | None:
        """Returns the numbers of an architecture, NaN for those that are not finite."""
        return self._known.get((kind, identity))

    def __iter__(self) -> Iterator[tuple[str, str, Numbers]]:
        """Yields kind, id of the architecture, and numbers, in the order of the file."""
        for (kind, identity), values in self._known.items():
            yield kind, identity, values

    def add(self, kind: str, identity: str, values: Numbers) -> None:
        """Adds the numbers of an architecture; `flush` or every tenth call writes them."""
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = _Line.model_construct(kind=kind, id=identity, values=finite)
        self._keep(line)
        self._new.append(line.model_dump_json() + "\n")
        if len(self._new) >= _LINES_PER_WRITE:
            self.flush()

    def _keep(self, line: _Line) -> None:
        values = {name: math.nan if value is None else value for name, value in line.values.items()}
        self._known[line.kind, line.id] = _Numbers(values, self._path)

    def flush(self) -> None:
        """Writes and syncs the numbers that were added."""
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
        """Measures the architectures that are not in the log; an interruption loses nothing.

        Args:
            kind: What is measured and with which settings, from `measurement_kind`.
            architectures: Ids and architectures.
            measured: Measures an architecture.
            progress: Shows the progress.

        Returns:
            The numbers of each architecture, in order.
        """
        wanted = list(architectures)
        missing = [pair for pair in wanted if self.get(kind, pair[0]) is None]
        if missing:
            self._measure(kind, missing, measured, progress)
        return [self._known[kind, identity] for identity, _ in wanted]

    def _measure(
        self,
        kind: str,
        missing: Sequence[tuple[str, A]],
        measured: Callable[[A], Numbers],
        progress: Progress,
    ) -> None:
        label = kind.partition(" ")[0]
        with hear_interruption() as interruption, progress(label, len(missing)) as advance:
            try:
                for done, (identity, architecture) in enumerate(missing, start=1):
                    if self.get(kind, identity) is None:  # an id may be listed twice
                        with interruption.at_once():
                            numbers = measured(architecture)
                        self.add(kind, identity, numbers)
                    advance(done, "")
                    interruption.check()
            finally:
                self.flush()


class _Numbers(dict[str, float]):
    """Numbers of a line of the file, which is damaged if it lacks a number that is needed."""

    def __init__(self, values: Numbers, path: Path) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, name: str) -> float:
        raise RunStateError(f"{self._path} is damaged: {name!r} is missing: {_REMEDY}")


def measurement_kind(name: str, **settings: Any) -> str:
    """Names a measurement together with its settings.

    Example:
        >>> measurement_kind("naswot", seed=0, images=128)
        'naswot images=128 seed=0'
    """
    return " ".join([name, *(f"{key}={value}" for key, value in sorted(settings.items()))])
