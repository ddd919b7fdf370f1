"""The parameters of a child network: how they are allocated, initialised and counted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from smash.runtime.rng import seeded
from smash.spaces.layers import CONVOLUTIONS, NORMS

NO_CONSTANTS = (
    "only BatchNorms may have buffers, since a child is built without values and its buffers are "
    "zeros; compute constants in forward"
)
"""The rule on `constant_buffers`."""

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
    """Makes layers that are built in this context skip drawing their initial weights.

    They hold arbitrary values until they are initialised or loaded; constants, such as those of a
    BatchNorm, are set. Values that no layer draws, such as those of a parameter of a user's own,
    are drawn, the same ones in each build. On the meta device there are no values to skip.

    Args:
        device: Device of the parameters and buffers.
    """
    # A mode takes time in each of a few hundred calls of torch's functions, so meta does without.
    on_meta = torch.device(device).type == "meta"
    token = _ON_META.set(on_meta)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.device(device))
            if not on_meta:
                stack.enter_context(seeded(0, "values", 0, torch.device(device)))
                stack.enter_context(_SkipInitialisation())
            yield
    finally:
        _ON_META.reset(token)


_RESETS = ("reset_parameters", "_reset_parameters")
"""Methods by which layers draw their weights."""

_BUILDING = "__init__"  # of a module: whatever called it draws no weights of a layer
_ON_META = ContextVar("whether modules are built on the meta device", default=False)
_OF_EACH = frozenset(vars(nn.Module()))  # attributes of any module


def _copying(layer: type[nn.Module]) -> Callable[..., nn.Module]:
    """Makes a constructor of a layer that copies what it made before, on the meta device.

    A run builds thousands of children, and torch's constructors take more than half of that time:
    they check each attribute, and the mode of the device sees each call. With copies a training
    step takes 0.90 of the time at the size of the demo, and 0.92 with memory banks at 8×8 pixels.
    """

    @lru_cache(maxsize=4096, typed=True)
    def template(*args: Any, **kwargs: Any) -> tuple[dict[str, Any], ...] | None:
        made = layer(*args, **kwargs)
        if not all(tensor.is_meta for tensor in made.state_dict().values()):
            return None
        settings = {name: value for name, value in vars(made).items() if name not in _OF_EACH}
        return settings, made._parameters, made._buffers

    def make(*args: Any, **kwargs: Any) -> nn.Module:
        found = None
        if _ON_META.get():
            with suppress(TypeError):  # for a list, which is no key, or a wrong argument
                found = template(*args, **kwargs)
        if found is None:
            return layer(*args, **kwargs)
        settings, parameters, buffers = found
        copied = layer.__new__(layer)
        nn.Module.__init__(copied)
        vars(copied).update(settings)
        for name, parameter in parameters.items():
            copied._parameters[name] = None if parameter is None else nn.Parameter(parameter)
        for name, buffer in buffers.items():
            copied._buffers[name] = None if buffer is None else buffer.detach()
        return copied

    return make


# Here and not in their module, whose source becomes part of exported networks.
for _layers in (CONVOLUTIONS, NORMS):
    _layers.update({dims: _copying(layer) for dims, layer in _layers.items()})


class _SkipInitialisation(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in _DRAWING and _is_of_layer():
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def _is_of_layer() -> bool:
    """Tells whether a layer draws its own weights, which `initialise` lets it do again."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_name != _BUILDING:
        if frame.f_code.co_name in _RESETS:
            return True
        frame = frame.f_back
    return False


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draws the initial weights of a network that was built without values.

    Those of convolutions and linear layers are drawn by He et al. (2015) with the fan-in; other
    layers draw theirs as they do when they are made. BatchNorms have theirs already.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            drawn = torch.empty(module.weight.shape)
            nn.init.kaiming_normal_(drawn, nonlinearity="relu", generator=generator)
            with torch.no_grad():
                module.weight.copy_(drawn)
                if module.bias is not None:
                    module.bias.zero_()
            continue
        own = next(module.parameters(recurse=False), None)
        reset = next(filter(None, (getattr(module, name, None) for name in _RESETS)), None)
        if own is not None and reset is not None and not isinstance(module, _BatchNorm):
            seed = int(torch.randint(2**31, (), generator=generator))
            with seeded(seed, "initial weights", 0, own.device):
                reset()


def count_parameters(child: nn.Module) -> int:
    """Counts the values of all parameters."""
    return sum(parameter.numel() for parameter in child.parameters())


def constant_buffers(child: nn.Module) -> list[str]:
    """Names the buffers that do not belong to a BatchNorm."""
    return [
        f"{prefix}.{name}".lstrip(".")
        for prefix, part in child.named_modules()
        if not isinstance(part, _BatchNorm)
        for name, _ in part.named_buffers(recurse=False)
    ]
