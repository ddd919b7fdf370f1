"""Latencies that a run keeps, read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smash.errors import RunStateError
from smash.io.measurements import MeasurementLog
from smash.run.layout import LATENCIES

CHILD, GRAPH = "latency", "graphs"
"""Kinds of times that a run keeps: of children during a search, and of exported graphs."""

TIMED = 10
"""Number of best candidates whose exported graphs are timed."""


@dataclass(frozen=True)
class Latency:
    """Time that a network takes for a batch, and the conditions of the measurement.

    Attributes:
        seconds: Median of the fastest round; other work on the machine only adds time.
        spread: Interquartile range of that round, in seconds.
        batch: Number of inputs.
        threads: Number of CPU threads.
        device: Device, or ``onnxruntime``.

    Example:
        >>> print(Latency(seconds=0.00123, spread=0.00008, batch=1, threads=4, device="cpu"))
        1.23 ± 0.04 ms
    """

    seconds: float
    spread: float
    batch: int
    threads: int
    device: str

    @property
    def milliseconds(self) -> str:
        """The median and half the interquartile range, as text."""
        return f"{1000 * self.seconds:.2f} ± {500 * self.spread:.2f}"

    def __str__(self) -> str:
        return f"{self.milliseconds} ms"


def read_latencies(run: Path, what: str) -> dict[str, Latency]:
    """Reads the times that a run keeps, by the architecture's id; the latest of each.

    Args:
        run: Folder of the run.
        what: `CHILD` or `GRAPH`.

    Raises:
        RunStateError: The file of times is damaged.
    """
    found = {}
    path = run / LATENCIES
    for kind, identity, values in MeasurementLog(path):
        try:
            name, *pairs = kind.split()
            if name != what:
                continue
            settings = dict(pair.split("=", 1) for pair in pairs)
            found[identity] = Latency(
                values["seconds"],
                values["spread"],
                1,
                int(settings["threads"]),
                settings.get("device", "onnxruntime"),
            )
        except (ValueError, KeyError, AttributeError):
            raise RunStateError(
                f"{path} is damaged: it holds {kind!r:.60}; delete the file, and the times are "
                "measured again"
            ) from None
    return found
