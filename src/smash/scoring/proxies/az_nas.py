"""AZ-NAS: four properties of an untrained child, from its features and their gradients.

Lee and Ham 2024, *AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture Search*, arXiv
2403.19232. Features f₁ … f_L are the outputs of the child's stages for a batch of Gaussian noise.

Legend: N images, C channels, P places (images × spatial).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smash.scoring.proxies.base import Proxy, Subject


class AzNas(Proxy):
    """Computes expressivity, progressivity, trainability and complexity, joined by their ranks.

    Features without spatial axes are ignored. A child with fewer than two features has neither
    progressivity nor trainability, and ranks last in both.
    """

    name = "az-nas"
    examples = 64

    def __call__(
        self, subject: Subject, images: Tensor, generator: torch.Generator
    ) -> tuple[float, ...]:
        """Computes the four values; only the shape of the images matters."""
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        features = _features(subject, noise.requires_grad_())
        entropies = [entropy(feature.detach()) for feature in features]
        steps = [after - before for before, after in pairwise(entropies)]
        slopes = [transfer(*pair, generator) for pair in pairwise(features)]
        return (
            sum(entropies),
            float(np.min(steps)) if steps else math.nan,  # Python's min may pass over NaN
            sum(slopes) / len(slopes) if slopes else math.nan,
            float(subject.macs),
        )


def _features(subject: Subject, noise: Tensor) -> list[Tensor]:
    """Collects the outputs of the stages in the order of execution, with batch statistics."""
    features: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: object) -> Tensor | None:
        if not isinstance(output, Tensor) or output.ndim != noise.ndim:
            return None
        features.append(output)
        return output.clone()  # the next module may be a ReLU that works in place

    # Only the noise needs a gradient: those of weights would double the cost for nothing.
    child = subject.child.train().requires_grad_(False)
    handles = [stage.register_forward_hook(keep) for stage in subject.stages]
    try:
        child(noise)
    finally:
        for handle in handles:
            handle.remove()
    return features


def entropy(feature: Tensor) -> float:
    """Computes the entropy of the normalised eigenvalues of the channels' covariance, in nats.

    It grows with the number of directions that a feature uses, up to log C; NaN for a constant
    feature.

    Args:
        feature: N×C×spatial.
    """
    values_CP = feature.transpose(0, 1).flatten(1).double()
    centred_CP = values_CP - values_CP.mean(1, keepdim=True)
    covariance_CC = centred_CP @ centred_CP.T / centred_CP.shape[1]
    if not covariance_CC.isfinite().all():
        return math.nan
    eigenvalues = torch.linalg.eigvalsh(covariance_CC).clamp(min=0)
    return float(torch.special.entr(eigenvalues / eigenvalues.sum()).sum())


def transfer(before: Tensor, after: Tensor, generator: torch.Generator) -> float:
    """Computes how well gradients pass from a feature to the previous one: 2 − s − 1/s ≤ 0.

    s is the largest singular value of E[g_before g_afterᵀ] over all places, for random ±1 gradients
    g_after. If resolutions differ, the places of a window become channels.

    Args:
        before: N×C×spatial.
        after: A function of `before`, N×C×spatial, with its graph.
        generator: Draws the signs.

    Returns:
        −∞ if nothing passes, or if everything passes unchanged, as through an identity.
    """
    signs = torch.randint(2, after.shape, generator=generator).to(after) * 2 - 1
    if not after.requires_grad:  # a constant, such as the output of an empty cell
        return -math.inf
    (passed,) = torch.autograd.grad(after, before, signs, retain_graph=True, allow_unused=True)
    if passed is None or (passed.shape == signs.shape and torch.equal(passed, signs)):
        return -math.inf
    extents = [min(pair) for pair in zip(before.shape[2:], after.shape[2:], strict=True)]
    before_CP, after_CP = fold(passed, extents), fold(signs, extents)
    mean = before_CP @ after_CP.T / before_CP.shape[1]
    if not mean.isfinite().all():
        return math.nan
    largest = torch.linalg.matrix_norm(mean, 2).item()
    return 2 - largest - 1 / largest if largest > 0 else -math.inf


def fold(values: Tensor, extents: Sequence[int]) -> Tensor:
    """Moves the places of each window into channels, leaving `extents` windows per axis.

    An extent that is not a multiple is padded with zeros.

    Args:
        values: N×C×spatial.
        extents: One number per spatial axis, at most the extent of `values`.

    Returns:
        Shape (C · places of a window, N · windows), in double precision.
    """
    count, channels, *size = values.shape
    windows = [-(-whole // part) for whole, part in zip(size, extents, strict=True)]
    missing = [
        part * window - whole for whole, part, window in zip(size, extents, windows, strict=True)
    ]
    padded = F.pad(values, [side for extra in reversed(missing) for side in (0, extra)])
    shape = [axis for pair in zip(extents, windows, strict=True) for axis in pair]
    split = padded.reshape(count, channels, *shape)
    dims = len(size)
    within = [3 + 2 * axis for axis in range(dims)]
    between = [2 + 2 * axis for axis in range(dims)]
    folded = split.permute(1, *within, 0, *between)
    return folded.reshape(channels * math.prod(windows), -1).double()
