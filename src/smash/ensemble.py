"""The running ensemble: the mean of the predictions of all candidates with a full score so far."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from smash.errors import RunStateError
from smash.run import load_tensors, save_tensors
from smash.scoring import error_of

ENSEMBLE = "ensemble.safetensors"
_CANDIDATES_BETWEEN_SAVES = 50


class Ensemble:
    """Sums the predicted probabilities of candidates, in the order in which they are added.

    The sum is kept in a file now and then; whoever opens it again adds the candidates that came
    after that.

    Args:
        path: Where the sum is kept.
        labels: Classes of the examples that are predicted, (examples,).

    Attributes:
        count: How many candidates are in it.
    """

    def __init__(self, path: Path, labels: Tensor) -> None:
        self._path, self._labels = path, labels
        self._sum: Tensor | None = None
        self.count = 0
        if not path.exists():
            return
        try:
            tensors, about = load_tensors(path)
        except RunStateError:
            return  # it is computed again: nothing that cannot be is kept here
        if tensors["probabilities"].shape[0] == len(labels):
            self._sum = tensors["probabilities"].to(self._labels.device)
            self.count = about["count"]

    def clear(self) -> None:
        """Begins anew."""
        self._sum = None
        self.count = 0

    def add(self, logits: Tensor) -> float:
        """Adds a candidate and gives the ensemble's error, 0…1.

        Args:
            logits: Its predictions, examples×classes.
        """
        probabilities = logits.double().softmax(1)
        self._sum = probabilities if self._sum is None else self._sum + probabilities
        self.count += 1
        if self.count % _CANDIDATES_BETWEEN_SAVES == 0:
            self.save()
        return self.error()

    def error(self) -> float:
        """The ensemble's error, 0…1; of nobody, all is wrong."""
        return 1.0 if self._sum is None else error_of(self._sum, self._labels)

    def save(self) -> None:
        """Writes the sum."""
        if self._sum is not None:
            save_tensors(self._path, {"probabilities": self._sum}, {"count": self.count})
