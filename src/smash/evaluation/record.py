"""The evaluation of a trained network on one split, as its folder holds it."""

from __future__ import annotations

from pydantic import Field

from smash.evaluation.intervals import error_interval
from smash.io.records import Amount, Record, Share

SPLITS = {"val": "validation", "test": "TEST"}
"""The words for a split that is validated on: a look at the test split is told in capitals."""

_MOST_CLASSES = 100  # whose confusion is stored: it grows with their square


class Evaluation(Record):
    """The evaluation of a trained network on one split.

    Example:
        >>> Evaluation(
        ...     split="val", examples=4, error=0.25, expected_error=0.31, top5_error=0.0,
        ...     macro_f1=0.73, loss=0.61, recall=[0.5, 1.0], confusion=[[1, 1], [0, 2]],
        ... ).error
        0.25
    """

    split: str
    """Name of the split."""

    examples: Amount
    """Number of examples."""

    error: Share
    """Share classified wrongly, 0…1."""

    expected_error: Share
    """Mean probability of the other classes, 0…1: the error of classes drawn by probability."""

    top5_error: Share
    """Share whose class is not among the five most likely, 0…1."""

    macro_f1: Share
    """F1 score, the mean over classes, 0…1."""

    loss: float
    """Mean cross-entropy, in nats."""

    recall: list[Share]
    """For each class, the share of its examples that is classified correctly, 0…1."""

    confusion: list[list[Amount]] = Field(default=[])
    """For each class, how many of its examples are taken for each class; empty if not stored."""

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the error over examples (Wilson 1927), 0…1."""
        return error_interval(self.error, self.examples)

    def stored(self) -> Evaluation:
        """Returns the part that a file holds: not the confusion of many classes."""
        many = len(self.confusion) > _MOST_CLASSES
        return self.model_copy(update={"confusion": []}) if many else self
