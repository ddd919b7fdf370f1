"""Many small operations on weights as one node of autograd's graph.

A child takes dozens of parts of few shared tensors. By torch's own indexing each part would be a
node, whose gradient is a tensor of zeros as large as the whole; here the gradients of all parts are
added to one such tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
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


_SLOPE = 0.02
_KERNEL = 3


def activate(x: Tensor) -> Tensor:
    """The hypernetwork's non-linearity, LeakyReLU."""
    return F.leaky_relu(x, _SLOPE)


def dense_group(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Computes a group: layer i convolves all there is by then, and adds its g channels to it.

    Args:
        x: 1×C×k×S, activated.
        weights: Of layer i, g×(C + i·g)×3×3; each is used divided by its whole norm.

    Returns:
        1×A×k×S: `x`, then what each layer gave, activated.
    """
    result: Tensor = _DenseGroup.apply(x, *weights)
    return result


class _DenseGroup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        grid, read = x.shape[2:], x.shape[1]
        growth = len(weights[0])
        norms = torch._foreach_norm(weights)
        matrices = [_matrix(weight) for weight in weights]
        result = x.new_empty(1, read + growth * len(weights), *grid)
        result[:, :read] = x
        flat_AP = result.view(-1, grid.numel())
        for matrix, norm in zip(matrices, norms, strict=True):
            sums = F.fold(matrix @ flat_AP[:read], grid, _KERNEL, padding=_KERNEL // 2)
            result[0, read : read + growth] = activate(sums / norm)
            read += growth
        ctx.save_for_backward(result, *matrices, *norms)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        result, *saved = ctx.saved_tensors
        layers = len(saved) // 2
        growth, read = len(saved[0]) // _KERNEL**2, result.shape[1]
        grid = result.shape[2:]
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        flat_AP, gradient_AP = result.view(-1, grid.numel()), gradient.view(-1, grid.numel())
        of_weights = []
        for matrix, norm in zip(reversed(saved[:layers]), reversed(saved[layers:]), strict=True):
            read -= growth
            given, of_given = (one[0, read : read + growth] for one in (result, gradient))
            # LeakyReLU keeps the sign, so that what it gave tells its slope; and what the scale
            # 1 / norm of a layer did is in the product of what it gave and the gradient.
            of_sums = torch.where(given > 0, of_given, _SLOPE * of_given) / norm
            columns = F.unfold(of_sums[None], _KERNEL, padding=_KERNEL // 2)[0]
            gradient_AP[:read].addmm_(matrix.T, columns)
            of_matrix = columns @ flat_AP[:read].T
            of_norm = (given * of_given).sum() / norm**2
            of_weights.append(_filters(of_matrix.addcmul_(matrix, of_norm, value=-1)))
        return gradient[:, :read], *reversed(of_weights)


def _matrix(weight: Tensor) -> Tensor:
    """The filters g×C×3×3 as a matrix, (g·9)×C, in the order in which `F.fold` adds up."""
    return weight.flip(2, 3).permute(0, 2, 3, 1).reshape(-1, weight.shape[1])


def _filters(matrix: Tensor) -> Tensor:
    """What `_matrix` made a matrix of."""
    return matrix.view(-1, _KERNEL, _KERNEL, matrix.shape[1]).permute(0, 3, 1, 2).flip(2, 3)
