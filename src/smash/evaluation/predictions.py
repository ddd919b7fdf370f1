"""Predictions of trained networks, and their error, top-5 error, macro-F1, loss and confusion."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smash.data import Data, Split
from smash.data.batches import batches
from smash.evaluation.record import Evaluation

_BATCH_SIZE = 250


@torch.no_grad()
def predict(
    network: Callable[[Tensor], Tensor],
    examples: Split,
    normalise: Callable[[Tensor], Tensor],
    batch_size: int = _BATCH_SIZE,
    order: Tensor | None = None,
) -> Tensor:
    """Predicts examples with a network in eval mode, from all views of each example.

    Args:
        network: Maps normalised images, N×channels×spatial, to logits, N×classes.
        examples: The examples.
        normalise: Normalises images.
        batch_size: The number of images that are predicted at once.
        order: Indices of the examples to predict, (n,); all in their order if None.

    Returns:
        Logits, (n, classes); see `over_views`.
    """
    size = max(1, batch_size // examples.views)
    return torch.cat(
        [
            over_views(network(normalise(batch.images)), batch.views)
            for batch in batches(examples, size, order)
        ]
    )


@torch.no_grad()
def evaluate(model: nn.Module, examples: Split, data: Data, split: str) -> Evaluation:
    """Evaluates a network in eval mode, on all views of each example.

    Args:
        model: Maps normalised images, N×channels×spatial, to logits, N×classes.
        examples: What to evaluate on.
        data: The data set, whose normalisation the model was trained with.
        split: Name of the split.
    """
    logits = predict(model, examples, data.normalise)
    predicted = logits.argmax(1)
    counts = confusion(examples.labels, predicted, len(data.classes))
    return Evaluation(
        split=split,
        examples=len(examples),
        error=error_of(logits, examples.labels),
        expected_error=expected_error_of(logits, examples.labels),
        top5_error=error_of(logits, examples.labels, among=5),
        macro_f1=macro_f1(counts),
        loss=F.cross_entropy(logits, examples.labels).item(),
        recall=(counts.diag() / counts.sum(1).clamp(min=1)).tolist(),
        confusion=counts.tolist(),
    )


def confusion(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Counts the confusion matrix.

    Args:
        labels: Shape ``(n,)``, int64.
        predicted: Likewise.
        classes: Number of classes.

    Returns:
        Shape ``(classes, classes)``, int64: a row for each class, a column for each prediction.
    """
    pairs = torch.bincount(labels * classes + predicted, minlength=classes**2)
    return pairs.view(classes, classes)


def macro_f1(counts: Tensor) -> float:
    """Computes the F1 score of each class, and their mean.

    Args:
        counts: The confusion matrix; classes that are neither present nor predicted are left out.
    """
    matrix = counts.cpu().numpy()
    both = matrix.sum(0) + matrix.sum(1)
    return float((2 * matrix.diagonal()[both > 0] / both[both > 0]).mean())


def over_views(logits: Tensor, views: int) -> Tensor:
    """Averages the predicted probabilities over the views of each example.

    Probabilities are averaged rather than logits, because their mean is a distribution, whose loss
    is that of a mixture, and because one view with a large wrong logit cannot outvote the others.

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


def error_of(logits: Tensor, labels: Tensor, among: int = 1) -> float:
    """Computes the share of examples, 0…1, whose class is not among the most likely.

    Args:
        logits: Examples×classes.
        labels: Shape (examples,).
        among: Number of the most likely classes that count.
    """
    return misses(logits, labels, among).double().mean().item()


def expected_error_of(logits: Tensor, labels: Tensor) -> float:
    """Computes the mean probability of the other classes, 0…1.

    It is the error to expect of classes drawn by their predicted probabilities, and tells networks
    apart by few examples: each example counts by how nearly it is missed. One whose logits are no
    numbers is missed.

    Args:
        logits: Examples×classes.
        labels: Shape (examples,).
    """
    own = logits.double().softmax(1).gather(1, labels[:, None])
    return (1 - own.nan_to_num(nan=0.0)).clamp(0, 1).mean().item()


def misses(logits: Tensor, labels: Tensor, among: int = 1) -> Tensor:
    """Tells for each example whether its class is not among the most likely, shape (examples,).

    Of equally likely classes, as int8 often has them, the first counts as more likely, which is
    what `argmax` predicts. Where a logit is no number, none is likely.
    """
    own, columns = logits.gather(1, labels[:, None]), torch.arange(logits.shape[1]).to(labels)
    before = (logits > own) | ((logits == own) & (columns < labels[:, None]))
    return (before.sum(1) >= among) | logits.isnan().any(1)
