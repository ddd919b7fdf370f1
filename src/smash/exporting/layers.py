"""Torch's own layers as the code that makes them: ``nn.Conv2d(3, 16, 3, padding=1)``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

_CHANGE_NOTHING = frozenset({"__init__", "__annotate__", "reset_parameters"})
_PLAIN = (bool, int, float, str, tuple, type(None))
_NOT_ARGUMENTS = frozenset({"device", "dtype"})


def layer_code(module: nn.Module) -> str | None:
    """The code that makes a layer like this one, but for its weights.

    Args:
        module: Any module.

    Returns:
        The code, or None where it is no layer of torch's, or one that code does not tell all of.
    """
    kind = torch_layer(module)
    if kind is None:
        return None
    if kind is nn.Identity:  # takes any arguments, and forgets them
        return "nn.Identity()"
    values = _arguments(kind, module)
    if values is None:
        return None
    for shorten in (_once, _as_it_is):
        required, optional = [], {}
        for name, parameter in _parameters(kind).items():
            if name not in values:
                continue
            value = shorten(values[name])
            if parameter.default is inspect.Parameter.empty:
                required.append(value)
            elif value != parameter.default:
                optional[name] = value
        if not _same(kind, required, optional, module):
            continue
        for name in list(optional):  # what follows from the others is not said
            fewer = {other: value for other, value in optional.items() if other != name}
            optional = fewer if _same(kind, required, fewer, module) else optional
        words = [*map(repr, required), *(f"{name}={value!r}" for name, value in optional.items())]
        return f"nn.{kind.__name__}({', '.join(words)})"
    return None


def torch_layer(module: nn.Module) -> type[nn.Module] | None:
    """The class of `torch.nn` that a module computes as; None if it computes in its own way."""
    for kind in type(module).__mro__:
        if kind.__module__.startswith("torch.nn.modules."):
            public = getattr(nn, kind.__name__, None) is kind
            return kind if public and kind is not nn.Module else None
        if any(
            callable(value) or isinstance(value, property)
            for name, value in vars(kind).items()
            if name not in _CHANGE_NOTHING
        ):
            return None
    return None


def _arguments(kind: type[nn.Module], module: nn.Module) -> dict[str, Any] | None:
    """What the layer was made with, read off its attributes."""
    values = {}
    for name, parameter in _parameters(kind).items():
        if name in _NOT_ARGUMENTS:
            continue
        value = getattr(module, name, parameter.empty)
        if value is parameter.empty and parameter.default is not parameter.empty:
            continue  # whether it was given shows in what was made
        if isinstance(value, nn.Parameter) or (value is None and name == "bias"):
            value = value is not None  # a layer is asked for a bias, and has it
        if not isinstance(value, _PLAIN):
            return None
        values[name] = value
    return values


def _parameters(kind: type[nn.Module]) -> dict[str, inspect.Parameter]:
    named = kind if not issubclass(kind, nn.RNNBase) else nn.RNNBase
    parameters = inspect.signature(named).parameters
    return {name: one for name, one in parameters.items() if name not in ("mode", "args", "kwargs")}


def _once(value: Any) -> Any:
    """A tuple of equal numbers as one number, which torch takes for each axis."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _as_it_is(value: Any) -> Any:
    return value


def _same(
    kind: Callable[..., nn.Module],
    required: list[Any],
    optional: dict[str, Any],
    module: nn.Module,
) -> bool:
    """Whether the layer that these arguments make is like the module."""
    devices = {"device": "meta"} if "device" in inspect.signature(kind).parameters else {}
    try:
        made = kind(*required, **optional, **devices)
    except (TypeError, ValueError, RuntimeError):
        return False
    return _facts(made) == _facts(module)


def _facts(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    plain = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, _PLAIN) and name != "training"
    }
    inner = {name: type(one) for name, one in module.named_modules() if name}
    return shapes, plain, inner
