"""Optimisers, learning rate schedules, losses and training recipes.

Random draws take a generator of their own. Torchvision's MixUp takes none, and only images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from smash.config import TrainingPlan
from smash.hypernet import SmashNetwork


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The additions of a training recipe to SGD with a cosine; the defaults add nothing.

    Attributes:
        label_smoothing: Share of a label that is spread over all classes (Szegedy et al. 2016).
        mixup: α of the Beta distribution that two examples are mixed by (Zhang et al. 2018); 0 for
            no mixing.
        averaging: Decay per step of a running average of the weights, which is validated and kept;
            0 keeps the weights themselves.
        warmup: Part of training, 0…1, in which the learning rate rises to its largest.
        decay_all: Whether norms and biases decay as well.
    """

    label_smoothing: float = 0.0
    mixup: float = 0.0
    averaging: float = 0.0
    warmup: float = 0.0
    decay_all: bool = True


RECIPES: Mapping[str, Recipe] = {
    "published": Recipe(),
    "modern": Recipe(label_smoothing=0.1, mixup=0.2, averaging=0.999, warmup=0.05, decay_all=False),
}


def learning_rate(recipe: Recipe, largest: float, step: float, steps: int) -> float:
    """Computes the learning rate of a step, from 0: a linear warm-up, then a cosine to 0."""
    rising = math.ceil(recipe.warmup * steps)
    if step < rising:
        return largest * (step + 1) / (rising + 1)
    return largest * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def parameter_groups(recipe: Recipe, model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups parameters by their weight decay, for an optimiser."""
    parameters = list(model.parameters())
    if recipe.decay_all:
        return [{"params": parameters, "weight_decay": weight_decay}]
    # Norms and biases have one axis. Decay would pull a scale to 0, which simplifies nothing.
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


@dataclass(frozen=True)
class Mixed:
    """A batch after mixup: each example is mixed with another one (Zhang et al. 2018).

    Attributes:
        images: Mixed images, n×channels×spatial.
        others: Labels of those mixed in, shape (n,).
        share: Weight of the example itself, 0…1.
    """

    images: Tensor
    others: Tensor
    share: float


def mix(images: Tensor, labels: Tensor, alpha: float, rng: np.random.Generator) -> Mixed:
    """Applies mixup: mixes the examples of a batch pairwise, all in the same share.

    Args:
        images: Normalised images, n×channels×spatial.
        labels: Shape (n,).
        alpha: Parameter of the Beta distribution that the share is drawn from.
        rng: Source of randomness.
    """
    share = float(rng.beta(alpha, alpha))
    order = torch.from_numpy(rng.permutation(len(labels))).to(labels.device)
    return Mixed(share * images + (1 - share) * images[order], labels[order], share)


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Makes an exponential moving average of a model's weights and statistics.

    The decay of step n is at most (1 + n) / (10 + n), as usual, because the average would otherwise
    still hold the initial weights at the end of a short training.
    """

    def average(kept: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        if not kept.is_floating_point():
            return new  # a counter
        now = float(count)
        return kept.lerp(new, 1 - min(decay, (1 + now) / (10 + now)))

    average_of = AveragedModel(model, avg_fn=average, use_buffers=True)
    average_of.eval()
    return average_of


def weighted_loss(
    logits: Tensor, labels: Tensor, weights: Tensor | None, smoothing: float = 0.0
) -> Tensor:
    """Computes the mean cross-entropy of a batch, in nats, weighted by class.

    The sum is divided by the number of examples, and not by the sum of their weights as in torch. A
    batch with many examples of rare classes counts more, so that all classes count the same over an
    epoch.

    Args:
        logits: Shape ``(n, classes)``.
        labels: Shape ``(n,)``, int64.
        weights: Shape ``(classes,)``; None for no weights.
        smoothing: Share of each label that is spread over all classes, 0…1.
    """
    if weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
    losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    return (weights[labels] * losses).mean()


def make_optimizer(network: SmashNetwork, settings: TrainingPlan) -> torch.optim.Optimizer:
    """Makes the optimiser of a SMASH network; weights of the hypernetwork do not decay."""
    hypernetwork = [p for name, p in network.named_parameters() if "hypernetwork" in name]
    shared = [p for name, p in network.named_parameters() if "hypernetwork" not in name]
    groups = [
        {"params": shared, "weight_decay": settings.weight_decay},
        {"params": hypernetwork, "weight_decay": 0.0},
    ]
    rate = settings.learning_rate
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, betas=(0.5, 0.999), eps=1e-4, fused=True)
    # Fused SGD of torch fails where a shared tensor gets its first gradient after the others.
    return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True, foreach=True)


def scheduled_rate(settings: TrainingPlan, position: float) -> float:
    """Computes the learning rate at a position in the plan, in steps from 0."""
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * position / settings.length.steps))


def clip_gradients(optimizer: torch.optim.Optimizer, norm: float) -> None:
    """Scales the gradients of all parameters down to a joint norm of at most `norm`.

    A network would look for its parameters in all of its modules, which takes longer than this.
    """
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    nn.utils.clip_grad_norm_(parameters, norm)
