"""The ensemble of all candidates with full scores: the mean of their predictions."""

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

    The sum is saved now and then; whoever opens it again adds the candidates that came later. A sum
    that is damaged, or of other candidates, is ignored.

    Args:
        path: The file of the sum; None saves nothing.
        labels: Classes of the predicted examples, (examples,).
        ids: Ids of all candidates with a full score, in their order.

    Example:
        >>> import torch
        >>> ensemble = Ensemble(None, torch.tensor([0, 1]), [])
        >>> ensemble.add("a", torch.tensor([[3.0, 0.0], [2.0, 0.0]]))
        >>> ensemble.error()
        0.5
    """

    def __init__(self, path: Path | None, labels: Tensor, ids: Sequence[str]) -> None:
        self._path, self._labels = path, labels
        self._sum: Tensor | None = None
        self._ids: list[str] = []
        self._saved = 0
        if path is None or not path.exists():
            return
        try:
            tensors, metadata = load_tensors(path)
        except RunStateError:
            return
        total, members = tensors.get("probabilities"), metadata.get("ids")
        if total is None or len(total) != len(labels) or not isinstance(members, list):
            return
        if members == list(ids[: len(members)]):
            self._sum, self._ids = total.to(labels.device), members
            self._saved = len(members)

    @property
    def count(self) -> int:
        """The number of candidates in the ensemble."""
        return len(self._ids)

    def add(self, identity: str, predicted: Tensor) -> None:
        """Adds a candidate.

        Args:
            identity: Id of the candidate.
            predicted: Its logits or log-probabilities, (examples, classes).
        """
        # Predictions that are not numbers count as equal probabilities.
        probabilities = predicted.double().softmax(1).nan_to_num(nan=1 / predicted.shape[1])
        self._sum = probabilities if self._sum is None else self._sum + probabilities
        self._ids.append(identity)

    def error(self) -> float:
        """Computes the error of the ensemble, 0…1; 1 without candidates."""
        return 1.0 if self._sum is None else error_of(self._sum, self._labels)

    def save_sometimes(self) -> None:
        """Saves the sum now and then; all candidates in it must be in the study."""
        if self.count - self._saved >= _CANDIDATES_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Saves the sum if it has changed."""
        if self._path and self._sum is not None and self.count > self._saved:
            save_tensors(self._path, {"probabilities": self._sum}, {"ids": self._ids})
            self._saved = self.count
