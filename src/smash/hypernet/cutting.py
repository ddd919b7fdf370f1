"""Parts of tensors, whose gradients are added up together.

Slicing gives the same parts, but its gradient allocates a whole tensor for each axis of each part
and adds these up one by one: most operations of a training step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Slices = tuple[slice, ...]


def cut(
    tensors: Mapping[str, Tensor] | nn.ParameterDict, places: Mapping[str, tuple[str, Slices]]
) -> dict[str, Tensor]:
    """Cuts parts of tensors: views, not to be changed in place.

    Args:
        tensors: Tensors by name, of one data type and on one device.
        places: For each part, by name, the tensor that it is cut from, and where: a slice of each
            axis. Parts may overlap.

    Example:
        >>> whole = torch.zeros(2, 3, requires_grad=True)
        >>> places = {"a": ("whole", (slice(2), slice(2))), "b": ("whole", (slice(1), slice(3)))}
        >>> parts = cut({"whole": whole}, places)
        >>> (parts["a"].sum() + parts["b"].sum()).backward()
        >>> whole.grad
        tensor([[2., 2., 1.],
                [1., 1., 0.]])
    """
    names = list(dict.fromkeys(name for name, _ in places.values()))
    whole = [tensors[name] for name in names]
    parts: tuple[Tensor, ...] = _Cut.apply(names, list(places.values()), *whole)
    return dict(zip(places, parts, strict=True))


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, names: list[str], places: list[tuple[str, Slices]], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        whole = dict(zip(names, tensors, strict=True))
        ctx.places, ctx.shapes = places, {name: tensor.shape for name, tensor in whole.items()}
        ctx.set_materialize_grads(False)
        parts = tuple(whole[name][part] for name, part in places)
        fixed = [name for name, tensor in whole.items() if not tensor.requires_grad]
        ctx.mark_non_differentiable(
            *(part for part, (name, _) in zip(parts, places, strict=True) if name in fixed)
        )
        return parts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        # The last part first, as torch adds up gradients: sums are rounded in the same way.
        added: dict[str, list[tuple[Slices, Tensor]]] = {}
        for (name, part), gradient in zip(reversed(ctx.places), reversed(gradients), strict=True):
            if gradient is not None:
                added.setdefault(name, []).append((part, gradient))
        sums = _zeros({name: ctx.shapes[name] for name in added}, gradients)
        # An operation on lists may take them in any order, so it gets one part of each tensor.
        for turn in zip_longest(*added.values()):
            pairs = {name: pair for name, pair in zip(added, turn, strict=True) if pair}
            torch._foreach_add_(
                [sums[name][part] for name, (part, _) in pairs.items()],
                [gradient for _, gradient in pairs.values()],
            )
        # A tensor without any gradient keeps none, so that the optimiser leaves it alone.
        return None, None, *(sums.get(name) for name in ctx.shapes)


def _zeros(shapes: Mapping[str, torch.Size], like: Iterable[Tensor | None]) -> dict[str, Tensor]:
    """Makes tensors of zeros by one operation."""
    sizes = [shape.numel() for shape in shapes.values()]
    model = next(tensor for tensor in like if tensor is not None)
    zeros = model.new_zeros(sum(sizes)).split(sizes)
    return {
        name: zero.view(shape) for (name, shape), zero in zip(shapes.items(), zeros, strict=True)
    }
