"""Many small operations on weights as one node of autograd's graph.

A child takes dozens of parts of few shared tensors. By torch's own indexing each part would be a
node, whose gradient is a tensor of zeros as large as the whole; here the gradients of all parts are
added to one such tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Place = tuple[slice, ...]


def take(wholes: Sequence[Tensor], places: Sequence[tuple[int, Place]]) -> tuple[Tensor, ...]:
    """Takes parts of tensors.

    Args:
        wholes: The tensors.
        places: For each part, the number of its tensor and where it lies in that.

    Returns:
        The parts, in that order.
    """
    if not places:
        return ()
    parts: tuple[Tensor, ...] = _Take.apply(places, *wholes)
    return parts


def over_norm(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Divides each tensor by the norm of all its values."""
    if not tensors:
        return ()
    results: tuple[Tensor, ...] = _OverNorm.apply(*tensors)
    return results


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, places: Sequence[tuple[int, Place]], *wholes: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # a part may not be used
        ctx.places = places
        ctx.wholes = [(whole.shape, whole.dtype, whole.device) for whole in wholes]
        parts = tuple(wholes[number][place] for number, place in places)
        learned = [whole.requires_grad for whole in wholes]
        ctx.mark_non_differentiable(
            *(part for part, (number, _) in zip(parts, places, strict=True) if not learned[number])
        )
        return parts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        # What no part was taken of keeps no gradient: an optimiser passes over it.
        sums: list[Tensor | None] = [None] * len(ctx.wholes)
        for (number, place), gradient in zip(ctx.places, gradients, strict=True):
            if gradient is None or not ctx.needs_input_grad[1 + number]:
                continue
            total = sums[number]
            if total is None:
                shape, dtype, device = ctx.wholes[number]
                total = sums[number] = torch.zeros(shape, dtype=dtype, device=device)
            total[place] += gradient
        return None, *sums


class _OverNorm(torch.autograd.Function):
    """t / |t|, whose gradient is (g − u (u · g)) / |t| with u = t / |t|."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        norms = [tensor.norm() for tensor in tensors]
        results = tuple(tensor / norm for tensor, norm in zip(tensors, norms, strict=True))
        ctx.save_for_backward(*results, *norms)
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        units, norms = ctx.saved_tensors[: len(gradients)], ctx.saved_tensors[len(gradients) :]
        return tuple(
            torch.addcmul(gradient, unit, (unit * gradient).sum(), value=-1).div_(norm)
            for unit, norm, gradient in zip(units, norms, gradients, strict=True)
        )
