"""The running ensemble: the mean of the predictions of all candidates with a full score so far."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from smash.errors import RunStateError
from smash.evaluation import error_of
from smash.io.tensors import load_tensors, save_tensors

_CANDIDATES_BETWEEN_SAVES = 50


class Ensemble:
    """Sums the predicted probabilities of candidates, in the order in which they are added.

    The sum is kept in a file now and then; whoever opens it again adds the candidates that came
    after that. What is kept of other candidates than those of the study is not used.

    Args:
        path: Where the sum is kept; None keeps it nowhere.
        labels: Classes of the examples that are predicted, (examples,).
        ids: The candidates of the study with a full score, in their order.

    """

    def __init__(self, path: Path | None, labels: Tensor, ids: Sequence[str]) -> None:
        self._path, self._labels = path, labels
        self._sum: Tensor | None = None
        self._ids: list[str] = []
        self._kept = 0
        if path is None or not path.exists():
            return
        try:
            tensors, about = load_tensors(path)
        except RunStateError:
            return  # it is computed again: nothing that cannot be is kept here
        total, members = tensors.get("probabilities"), about.get("ids")
        if total is None or len(total) != len(labels) or not isinstance(members, list):
            return
        if members == list(ids[: len(members)]):
            self._sum, self._ids = total.to(labels.device), members
            self._kept = len(members)

    @property
    def count(self) -> int:
        """How many candidates are in it."""
        return len(self._ids)

    def add(self, identity: str, predicted: Tensor) -> float:
        """Adds a candidate and gives the ensemble's error, 0…1.

        Args:
            identity: Its id.
            predicted: What `Scorer.predict` gives for it, examples×classes.
        """
        # Predictions that are no numbers say nothing, as equal probabilities do.
        probabilities = predicted.double().softmax(1).nan_to_num(nan=1 / predicted.shape[1])
        self._sum = probabilities if self._sum is None else self._sum + probabilities
        self._ids.append(identity)
        return self.error()

    def error(self) -> float:
        """The ensemble's error, 0…1; of nobody, all is wrong."""
        return 1.0 if self._sum is None else error_of(self._sum, self._labels)

    def keep(self) -> None:
        """Writes the sum now and then; called when the candidates in it are in the study."""
        if self.count - self._kept >= _CANDIDATES_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Writes the sum, where it has changed."""
        if self._path and self._sum is not None and self.count > self._kept:
            save_tensors(self._path, {"probabilities": self._sum}, {"ids": self._ids})
            self._kept = self.count
