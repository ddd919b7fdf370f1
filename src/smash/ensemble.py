"""The running ensemble: the mean of the predictions of all candidates scored so far."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from smash.data import Split
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
        examples: The examples that are predicted.

    Attributes:
        count: How many candidates are in it.
    """

    def __init__(self, path: Path, examples: Split) -> None:
        self._path, self._labels = path, examples.labels
        self._sum: Tensor | None = None
        self.count = 0
        if not path.exists():
            return
        try:
            tensors, about = load_tensors(path)
        except RunStateError:
            return  # it is computed again: nothing that cannot be is kept here
        if tensors["probabilities"].shape[0] == len(examples):
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
        return error_of(self._sum, self._labels)

    def save(self) -> None:
        """Writes the sum."""
        if self._sum is not None:
            save_tensors(self._path, {"probabilities": self._sum}, {"count": self.count})
