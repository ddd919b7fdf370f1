"""The parameters of a child network: how they are allocated, initialised and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWING = {
    nn.init.kaiming_normal_,
    nn.init.kaiming_uniform_,
    nn.init.normal_,
    nn.init.trunc_normal_,
    nn.init.uniform_,
    Tensor.normal_,
    Tensor.uniform_,
}
_FILLING = {Tensor.fill_, Tensor.zero_}


@contextmanager
def without_values(device: str | torch.device) -> Iterator[None]:
    """Makes modules that are built in this context skip drawing their initial weights.

    Weights hold arbitrary values until they are initialised or loaded; constants, such as those of
    a BatchNorm, are set. A child is built on the meta device thousands of times, where initial
    values would take half of the time.

    Args:
        device: Device of the parameters and buffers.
    """
    with torch.device(device), _SkipInitialisation():
        yield


class _SkipInitialisation(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in _DRAWING:
            return args[0] if args else (kwargs or {})["tensor"]
        if func in _FILLING and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draws initial weights of convolutions and linear layers (He et al. 2015, fan-in)."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            drawn = torch.empty(module.weight.shape)
            nn.init.kaiming_normal_(drawn, nonlinearity="relu", generator=generator)
            with torch.no_grad():
                module.weight.copy_(drawn)
                if module.bias is not None:
                    module.bias.zero_()


def count_parameters(child: nn.Module) -> int:
    """Counts the values of all parameters."""
    return sum(parameter.numel() for parameter in child.parameters())
