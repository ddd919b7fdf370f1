"""How a child is trained: the published recipe, and a modern one. What differs, and how it is done.

Everything that is drawn has a generator of its own, which torchvision's MixUp, for images only and
with the global one, does not take.
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
    """What a recipe adds to SGD with a cosine; the defaults add nothing.

    Attributes:
        label_smoothing: Share of a label that is spread over all classes (Szegedy et al. 2016).
        mixup: α of the Beta distribution that two examples are mixed by (Zhang et al. 2018); 0 for
            no mixing.
        averaging: Decay a step of a running average of the weights, which is what is validated and
            kept; 0 keeps the weights themselves.
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


def learning_rate(recipe: Recipe, largest: float, step: int, steps: int) -> float:
    """The learning rate of a step, counted from 0: up in a line, then down in a cosine to 0."""
    rising = math.ceil(recipe.warmup * steps)
    if step < rising:
        return largest * (step + 1) / (rising + 1)
    return largest * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def parameter_groups(recipe: Recipe, model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """What an optimiser takes: parameters, and how much each group decays."""
    parameters = list(model.parameters())
    if recipe.decay_all:
        return [{"params": parameters, "weight_decay": weight_decay}]
    # Norms and biases have one axis. Decay would pull a scale to 0, which is no simpler function.
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


@dataclass(frozen=True)
class Mixed:
    """A batch of which each example is mixed with another one.

    Attributes:
        images: Mixed images, n×channels×spatial.
        others: Labels of those mixed in, shape (n,).
        share: How much of each is the example itself, 0…1.
    """

    images: Tensor
    others: Tensor
    share: float


def mix(images: Tensor, labels: Tensor, alpha: float, rng: np.random.Generator) -> Mixed:
    """Mixes examples of a batch pairwise, all in the same share.

    Args:
        images: Normalised images, n×channels×spatial.
        labels: Shape (n,).
        alpha: Of the Beta distribution that the share is drawn from.
        rng: Source of randomness.
    """
    share = float(rng.beta(alpha, alpha))
    order = torch.from_numpy(rng.permutation(len(labels))).to(labels.device)
    return Mixed(share * images + (1 - share) * images[order], labels[order], share)


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """A running average of a model's weights and statistics, to be fed after each step.

    Early on it forgets faster, or it would still hold the initial weights at the end of a short
    training: the decay of step n is at most (1 + n) / (10 + n), as is usual.
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
    """The mean loss of a batch, in nats, each example times the weight of its class.

    The mean is over examples, and not over their weights as torch's own is: a batch that happens to
    hold rare classes counts for more, so that over an epoch all classes count the same.

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
    """Makes the optimiser, which decays all weights but the hypernetwork's."""
    hypernetwork = [p for name, p in network.named_parameters() if "hypernetwork" in name]
    shared = [p for name, p in network.named_parameters() if "hypernetwork" not in name]
    groups = [
        {"params": shared, "weight_decay": settings.weight_decay},
        {"params": hypernetwork, "weight_decay": 0.0},
    ]
    rate = settings.learning_rate
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, betas=(0.5, 0.999), eps=1e-4, fused=True)
    # Not fused: torch's fails where a shared tensor gets its first gradient after the others.
    return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)


def scheduled_rate(settings: TrainingPlan, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
