"""The result of a comparison."""

from __future__ import annotations

from pathlib import Path

from smash.io.records import Interval, Record
from smash.run.layout import COMPARISON

PLAIN, OVER, RANDOM = "plain", "over the limits", "random"


class Contestant(Record):
    """A network of a comparison; errors are fractions, 0…1, with intervals over seeds and examples.

    Attributes:
        role: ``winner``, ``rank N``, ``median-ranked``, ``random`` or ``plain``; or ``over the
            limits``, a plain network that the limits of the search exclude.
        name: Id of the candidate, or name of the plain network.
        params: Number of parameters.
        macs: Multiply-accumulates for one input.
        memory: Bytes of RAM for the activations of one input in int8.
        flash: Bytes of the weights and the graph in int8.
        latency: Seconds for one input, measured as the search measured candidates; None where that
            could not be repeated, or the network does not run there.
        minutes: Mean duration of one training.
        val: Validation error.
        test: Test error.
        behind: Test error minus that of the winner, paired by example.
    """

    role: str
    name: str
    params: int
    macs: int
    memory: int
    flash: int
    latency: float | None = None
    minutes: float
    val: Interval
    test: Interval
    behind: Interval


class Comparison(Record):
    """The result of `compare`; stored in the run folder as ``comparison.json``.

    Attributes:
        length: Length of each training in words, such as 30 epochs.
        seeds: Number of trainings of each network.
        val_examples: Number of validation examples.
        test_examples: Number of test examples.
        contestants: The networks, the winner first.
        random: Mean test error of the random candidates minus the winner's, 0…1; None with fewer
            than two.
        verdict: The answer in a sentence; with random candidates, and with one seed, in one more
            each.

    Example:
        >>> same = Interval(value=0.1, low=0.08, high=0.12)
        >>> winner = Contestant(
        ...     role="winner", name="f796694c174f", params=17_354, macs=346_624, memory=4_096,
        ...     flash=21_000, minutes=2.0, val=same, test=same,
        ...     behind=Interval(value=0, low=0, high=0),
        ... )
        >>> comparison = Comparison(
        ...     length="30 epochs", seeds=3, val_examples=153, test_examples=269,
        ...     contestants=[winner], verdict="nothing to compare with",
        ... )
        >>> comparison.contestants[0].test.value
        0.1
    """

    length: str
    seeds: int
    val_examples: int
    test_examples: int
    contestants: list[Contestant]
    random: Interval | None = None
    verdict: str


def read_comparison(path: Path) -> Comparison | None:
    """Reads the comparison of a run folder; None where there is none."""
    file = path / COMPARISON
    return Comparison.read(file) if file.is_file() else None
