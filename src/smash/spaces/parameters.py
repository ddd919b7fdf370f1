"""The parameters of a child network: how they are allocated, initialised and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
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


@contextmanager
def without_values(device: str | torch.device) -> Iterator[None]:
    """Makes modules that are built in this context skip drawing their initial weights.

    Weights hold arbitrary values until they are initialised or loaded; constants, such as those of
    a BatchNorm, are set. On the meta device there are no values to skip.

    Args:
        device: Device of the parameters and buffers.
    """
    # A mode takes time in each of a few hundred calls of torch's functions, so meta does without.
    skipping = nullcontext() if torch.device(device).type == "meta" else _SkipInitialisation()
    with torch.device(device), skipping:
        yield


def _skip_on_meta(layer: Any) -> None:
    """Makes a class of torch's layers skip its initial values on the meta device.

    They have no effect there, but take a quarter to almost half of the time of building a child,
    which a run does thousands of times. The method is replaced for good, and layers on other
    devices are initialised as before. Replacing it for the time of each build would clear Python's
    cache of the methods of these classes each time, and race with other threads.
    """
    initialise_layer = layer.reset_parameters

    @wraps(initialise_layer)
    def reset_parameters(self: nn.Module) -> None:
        weight = self._parameters.get("weight")
        if weight is None or not weight.is_meta:
            initialise_layer(self)

    layer.reset_parameters = reset_parameters


for _layer in (_ConvNd, _NormBase, nn.Linear):
    _skip_on_meta(_layer)


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
