"""Shared weights: one set of tensors for all children, of which each child takes its part."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from smash.hypernet.autograd import take
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
        self._keys = {name: name.replace(".", "/") for name in shapes}
        self.tensors = nn.ParameterDict(
            {self._keys[name]: _initial(name, shape, generator) for name, shape in shapes.items()}
        )

    def fix_norms(self) -> None:
        """Keeps BatchNorms at the identity: they are learned no more."""
        for key, scale in self.tensors.items():
            if scale.ndim == 1 and key.endswith("weight"):
                scale.requires_grad_(False)
                shift = key.removesuffix("weight") + "bias"
                if shift in self.tensors:
                    self.tensors[shift].requires_grad_(False)

    def forward(self, child: nn.Module) -> dict[str, Tensor]:
        """Gives `{name: tensor}` for the parameters of `child` that have a shared tensor."""
        names, places = [], []
        numbers: dict[str, int] = {}
        for name, parameter in child.named_parameters():
            key = self._keys.get(self._shared_name(name))
            if key is not None:
                number = numbers.setdefault(key, len(numbers))
                whole = tuple(self.tensors[key].shape)
                places.append((number, corner(whole, tuple(parameter.shape))))
                names.append(name)
        parts = take([self.tensors[key] for key in numbers], places)
        return dict(zip(names, parts, strict=True))


def _initial(name: str, shape: Shape, generator: torch.Generator) -> nn.Parameter:
    """He's normal initialisation of weights; BatchNorms begin as the identity."""
    if name.endswith("bias"):
        return nn.Parameter(torch.zeros(shape))
    if len(shape) == 1:
        return nn.Parameter(torch.ones(shape))
    fan_in = math.prod(shape[1:])
    return nn.Parameter(torch.randn(shape, generator=generator) * math.sqrt(2 / fan_in))
