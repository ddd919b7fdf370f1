"""evaluation."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score
from torch import Tensor, nn

from smash.data import Data, Split, batches

SPLITS = {"val": "validation", "test": "TEST"}
"""What a split to validate on is called: whoever looks at the test split is told so."""


_BATCH_SIZE = 250

_MOST_CLASSES = 100  # whose confusion a file is to hold: it grows with their square


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well a trained child does.

    Attributes:
        split: Which examples these are of.
        examples: How many.
        error: Share classified wrongly, 0…1.
        top5_error: Share whose class is not among the five most likely, 0…1.
        macro_f1: F1 score, the mean over classes, 0…1.
        loss: Mean cross-entropy, in nats.
        recall: Of each class, the share of its examples that is classified rightly, 0…1.
        confusion: A row for each class and a column for each that it is taken for, in examples.
    """

    split: str
    examples: int
    error: float
    top5_error: float
    macro_f1: float
    loss: float
    recall: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]


@torch.no_grad()
def evaluate(model: nn.Module, examples: Split, data: Data, split: str) -> Evaluation:
    """Evaluates a child in eval mode, on all views of each example.

    Args:
        model: Maps normalised images, N×channels×spatial, to logits, N×classes.
        examples: What to evaluate on.
        data: The data set, whose normalisation the model was trained with.
        split: Name of the split.
    """
    size = max(1, _BATCH_SIZE // examples.views)
    logits = torch.cat(
        [
            over_views(model(data.normalise(batch.images)), batch.views)
            for batch in batches(examples, size)
        ]
    )
    predicted = logits.argmax(1)
    counts = confusion(examples.labels, predicted, len(data.classes))
    return Evaluation(
        split=split,
        examples=len(examples),
        error=error_of(logits, examples.labels),
        top5_error=error_of(logits, examples.labels, among=5),
        macro_f1=float(f1_score(examples.labels.cpu(), predicted.cpu(), average="macro")),
        loss=F.cross_entropy(logits, examples.labels).item(),
        recall=tuple((counts.diag() / counts.sum(1).clamp(min=1)).tolist()),
        confusion=tuple(map(tuple, counts.tolist())),
    )


def confusion(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Counts which class is taken for which.

    Args:
        labels: Shape ``(n,)``, int64.
        predicted: Likewise.
        classes: Number of classes.

    Returns:
        Shape ``(classes, classes)``, int64: a row for each class, a column for each prediction.
    """
    pairs = torch.bincount(labels * classes + predicted, minlength=classes**2)
    return pairs.view(classes, classes)


def over_views(logits: Tensor, views: int) -> Tensor:
    """What is predicted from all views of an example: the mean of their probabilities.

    Probabilities and not logits, because their mean is again a distribution, whose loss is that of
    a mixture, and because one view with a large wrong logit cannot outvote all others.

    Args:
        logits: Shape ``(n · views, classes)``, the views of an example one after another.
        views: Views of an example.

    Returns:
        Logarithms of the mean probabilities, shape ``(n, classes)``; of one view, its logits.
    """
    if views == 1:
        return logits
    log_probabilities: Tensor = logits.log_softmax(1).unflatten(0, (-1, views))
    return log_probabilities.logsumexp(1) - math.log(views)


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as plain JSON for a child's folder; of many classes without `confusion`."""
    found = asdict(evaluation)
    if len(evaluation.confusion) > _MOST_CLASSES:
        del found["confusion"]
    return found


def error_of(logits: Tensor, labels: Tensor, among: int = 1) -> float:
    """Share of examples, 0…1, whose class is not among the most likely.

    Args:
        logits: Examples×classes.
        labels: Shape (examples,).
        among: How many of the most likely classes count.
    """
    return misses(logits, labels, among).double().mean().item()


def misses(logits: Tensor, labels: Tensor, among: int = 1) -> Tensor:
    """Whether each example's class is not among the most likely, (examples,)."""
    likely = logits.topk(min(among, logits.shape[1]), dim=1).indices
    return (likely != labels[:, None]).all(1)
