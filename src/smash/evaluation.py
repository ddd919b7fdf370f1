"""The evaluation of trained networks: error, top-5 error, macro-F1, loss and confusion."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist, fmean, stdev

import torch
import torch.nn.functional as F
from pydantic import Field
from scipy.special import stdtrit
from torch import Tensor, nn

from smash.data import Data, Split
from smash.data.batches import batches
from smash.io.records import Amount, Record, Share

_Z = NormalDist().inv_cdf(0.975)  # of a 95% interval

SPLITS = {"val": "validation", "test": "TEST"}
"""The words for a split that is validated on: a look at the test split is told in capitals."""

_BATCH_SIZE = 250
_MOST_CLASSES = 100  # whose confusion is stored: it grows with their square


class Evaluation(Record):
    """The evaluation of a trained network on one split.

    Example:
        >>> Evaluation(
        ...     split="val", examples=4, error=0.25, top5_error=0.0, macro_f1=0.73, loss=0.61,
        ...     recall=[0.5, 1.0], confusion=[[1, 1], [0, 2]],
        ... ).error
        0.25
    """

    split: str
    """Name of the split."""

    examples: Amount
    """Number of examples."""

    error: Share
    """Share classified wrongly, 0…1."""

    top5_error: Share
    """Share whose class is not among the five most likely, 0…1."""

    macro_f1: Share
    """F1 score, the mean over classes, 0…1."""

    loss: float
    """Mean cross-entropy, in nats."""

    recall: list[Share]
    """For each class, the share of its examples that is classified rightly, 0…1."""

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


def macro_f1(confused: Tensor) -> float:
    """Computes the F1 score of each class, and their mean.

    Args:
        confused: The confusion matrix; classes that are neither there nor predicted are left out.
    """
    counts = confused.cpu().numpy()
    both = counts.sum(0) + counts.sum(1)
    return float((2 * counts.diagonal()[both > 0] / both[both > 0]).mean())


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


def error_interval(error: float, examples: int, of_seeds: float = 0.0) -> tuple[float, float]:
    """Computes the 95% interval of an error, or of the mean error of several trainings.

    The examples contribute Wilson's interval, written out because SciPy's takes a whole number of
    errors, and a mean over seeds is none; the two widths add up as independent deviations do.

    Args:
        error: The error, 0…1.
        examples: The number of examples.
        of_seeds: Half of the interval over seeds.
    """
    share = _Z * _Z / examples
    centre = (error + share / 2) / (1 + share)
    half = _Z / (1 + share)
    half *= math.sqrt(error * (1 - error) / examples + share / (4 * examples))
    low = error - math.hypot(error - max(0.0, centre - half), of_seeds)
    high = error + math.hypot(centre + half - error, of_seeds)
    return max(0.0, low), min(1.0, high)


def mean_error(evaluations: Sequence[Evaluation]) -> tuple[float, float, float]:
    """Computes the mean error of trainings that differ in their seed, on the same examples.

    Returns:
        The mean, and its 95% interval over seeds (Student) and examples (Wilson), 0…1.
    """
    errors = [each.error for each in evaluations]
    mean, of_seeds = fmean(errors), 0.0
    if len(errors) > 1:
        t = float(stdtrit(len(errors) - 1, 0.975))
        of_seeds = t * stdev(errors) / math.sqrt(len(errors))
    return mean, *error_interval(mean, evaluations[0].examples, of_seeds)


def error_of(logits: Tensor, labels: Tensor, among: int = 1) -> float:
    """Computes the share of examples, 0…1, whose class is not among the most likely.

    Args:
        logits: Examples×classes.
        labels: Shape (examples,).
        among: Number of the most likely classes that count.
    """
    return misses(logits, labels, among).double().mean().item()


def misses(logits: Tensor, labels: Tensor, among: int = 1) -> Tensor:
    """Tells for each example whether its class is not among the most likely, shape (examples,)."""
    likely = logits.topk(min(among, logits.shape[1]), dim=1).indices
    return (likely != labels[:, None]).all(1)
