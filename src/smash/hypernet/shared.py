"""Shared weights: one set of tensors for all children, of which each child takes its corners."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from smash.errors import InvalidValueError
from smash.hypernet.cutting import cut
from smash.spaces.base import Shape, corner


class SharedWeights(nn.Module):
    """Gives each parameter of a child the corner of the shared tensor that it belongs to.

    Args:
        shapes: Shapes of the shared tensors by name.
        shared_name: Maps the name of a child's parameter to that of its shared tensor.
        generator: Source of the initial values.
    """

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        shared_name: Callable[[str], str],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self._shared_name = shared_name
        self._shapes = {tensor_key(name): shape for name, shape in shapes.items()}
        self.tensors = nn.ParameterDict(
            {tensor_key(name): _initial(name, shape, generator) for name, shape in shapes.items()}
        )

    def freeze_norms(self) -> None:
        """Keeps the affine parameters of BatchNorms at the identity, out of training."""
        for key, scale in self.tensors.items():
            shift = key.removesuffix("weight") + "bias"
            if scale.ndim == 1 and key.endswith("weight") and shift in self.tensors:
                scale.requires_grad_(False)
                self.tensors[shift].requires_grad_(False)

    def forward(self, child: nn.Module) -> dict[str, Tensor]:
        """Gives a tensor for each parameter of `child` that has a shared tensor, by name.

        Raises:
            InvalidValueError: One is larger than its shared tensor.
        """
        places = {}
        for name, parameter in child.named_parameters():
            key = tensor_key(self._shared_name(name))
            if key in self._shapes:
                try:
                    places[name] = key, corner(self._shapes[key], tuple(parameter.shape))
                except ValueError as error:
                    raise InvalidValueError(
                        f"parameter {name!r}: {error}, the largest that was found for it: give it "
                        "another name where it is so large, or let fewer choices decide its size"
                    ) from None
        return cut(self.tensors, places)


def tensor_key(name: str) -> str:
    """Maps the name of a shared tensor to its key in a `ParameterDict`, which has no dots."""
    return name.replace(".", "/")


def _initial(name: str, shape: Shape, generator: torch.Generator) -> nn.Parameter:
    """Draws a weight (He et al. 2015); BatchNorms begin as the identity."""
    if "bias" in name.rpartition(".")[2]:  # a recurrent layer numbers its biases
        return nn.Parameter(torch.zeros(shape))
    if len(shape) == 1:
        return nn.Parameter(torch.ones(shape))
    fan_in = math.prod(shape[1:])
    return nn.Parameter(torch.randn(shape, generator=generator) * math.sqrt(2 / fan_in))
