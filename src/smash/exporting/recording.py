"""What a network does to its input, step by step, as its own Python code asked for it.

A child is run once with example inputs while every call of torch is noted, and so is which module
asked for it. The result is a *part* for each module that has a forward of its own: the steps that
it takes, in torch's words (``F.relu``, ``torch.cat``, a layer). Layers of torch are steps, and not
looked into. Numbers that the code takes from the number of examples are told apart from constants
by running it with another number of them.

What code decides by looking at values cannot be noted, and is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from smash.errors import InvalidValueError
from smash.exporting.layers import layer_code

_LOOKS_AT_VALUES = frozenset(
    {"item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__", "nonzero"}
)
_BATCHES = (2, 3)


class Value:
    """A tensor that a step gives, or that a part is given.

    Attributes:
        step: The step that gives it; None for an input.
        shape: Its shape.
    """

    def __init__(self, step: Step | None, shape: Sequence[int]) -> None:
        self.step, self.shape = step, tuple(shape)


@dataclass(frozen=True)
class Parameter:
    """A parameter or buffer that is used by itself, by its name in the child."""

    name: str


@dataclass(frozen=True)
class Batch:
    """A number that is so many times the number of examples."""

    times: int


@dataclass(eq=False)
class Step:
    """A call.

    Attributes:
        function: What is called; for a module its path in the child.
        args: Positional arguments; tensors stand as `Value` or `Parameter`.
        kwargs: Arguments by name, likewise.
        result: What it gives: a `Value`, or tuples of them; None for nothing.
        changes: Whether it changes one of its arguments.
    """

    function: Callable[..., Any] | str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any = None
    changes: bool = False


@dataclass(eq=False)
class Part:
    """A module with a forward of its own, as it was called once.

    Attributes:
        path: Its path in the child; empty for the child itself.
        module: The module.
        inputs: Its arguments by the name they have in `forward`; tensors stand as `Value`.
        steps: What it does, in order.
        result: What it gives.
    """

    path: str
    module: nn.Module
    inputs: dict[str, Any]
    steps: list[Step] = field(default_factory=list)
    result: Any = None


def record(network: nn.Module, images: Tensor) -> list[Part]:
    """Notes what a network does.

    Args:
        network: In eval mode; it gives one tensor.
        images: An example input, N×channels×spatial, whose N does not matter.

    Returns:
        The parts, those that are used by others before them; the network itself is the last one. A
        module that is called twice is there twice.

    Raises:
        InvalidValueError: It decides by values, or does what cannot be noted.
    """
    again = [1] * (images.ndim - 1)
    first, second = (_run(network, images[:1].repeat(n, *again)) for n in _BATCHES)
    if len(first) != len(second):
        raise _undecided(network)
    for one, other in zip(first, second, strict=True):
        if len(one.steps) != len(other.steps) or one.path != other.path:
            raise _undecided(one.module)
        for step, twin in zip(one.steps, other.steps, strict=True):
            step.args = _told_apart(step.args, twin.args, one.module)
            step.kwargs = _told_apart(step.kwargs, twin.kwargs, one.module)
    return first


def is_chain(module: nn.Module) -> bool:
    """Whether a module does nothing but call its parts one after the other."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def is_wrapper(module: nn.Module) -> bool:
    """Whether a module has one layer only: its code is written into that of its owner."""
    if module._parameters or module._buffers or is_chain(module) or not module._modules:
        return False
    if type(module) in (nn.ModuleList, nn.ModuleDict):
        return False
    layers = [one for one in module.modules() if one is not module]
    plain = all(
        name.isidentifier() and not hasattr(nn.ModuleDict, name) for name in module._modules
    )
    return plain and len(layers) == 1 and layer_code(layers[0]) is not None


def map_structure(change: Callable[[Any], Any], value: Any) -> Any:
    """Changes what lists, tuples, dicts and slices hold."""
    if isinstance(value, list):
        return [map_structure(change, entry) for entry in value]
    if isinstance(value, tuple):
        return tuple(map_structure(change, entry) for entry in value)
    if isinstance(value, Mapping):
        return {key: map_structure(change, entry) for key, entry in value.items()}
    if isinstance(value, slice):
        ends = (map_structure(change, end) for end in (value.start, value.stop, value.step))
        return slice(*ends)
    return change(value)


def leaves(value: Any) -> list[Any]:
    """What lists, tuples, dicts and slices hold, in order."""
    found: list[Any] = []
    map_structure(found.append, value)
    return found


@dataclass(frozen=True)
class _Call:
    """A part that is being called: its tensors by their id, and its arguments as they are."""

    part: Part
    table: dict[int, Value]
    given: dict[str, Any]


class _Recorder(TorchFunctionMode):
    """Notes calls of torch, in the part of the module that makes them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.parts: list[Part] = []
        self._calls: list[_Call] = []
        self._inside_layer = 0
        self._kept: list[Any] = []  # an id is that of one tensor only as long as that is there
        inner = [module for module in network.modules() if module is not network]
        self._layers = {module for module in inner if layer_code(module) is not None}
        self._wrappers = {module for module in inner if is_wrapper(module)}
        self._named = {
            id(tensor): Parameter(name)
            for name, tensor in (*network.named_parameters(), *network.named_buffers())
        }

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self._inside_layer or not self._calls:
            return result
        call, name = self._calls[-1], getattr(func, "__name__", "")
        if name in _LOOKS_AT_VALUES and any(id(one) in call.table for one in _tensors(args)):
            raise InvalidValueError(
                f"{type(call.part.module).__name__} looks at values ({name}), which code for all "
                "inputs cannot be written of: export it as .onnx or .safetensors"
            )
        if name == "__setitem__" or _tensors(result):
            self._note(func, args, kwargs, result, _changes(name, kwargs))
        return result

    def before(self, path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A module is about to be called."""
        if self._inside_layer or module in self._layers:
            self._inside_layer += 1
        elif module not in self._wrappers:
            given = {
                name: one
                for name, one in _bound(module, args, kwargs).items()
                if _tensors(one)  # what is constant is written where it is used
            }
            table: dict[int, Value] = {}
            inputs = map_structure(lambda one: self._enter(one, table), given)
            self._calls.append(_Call(Part(path, module, inputs), table, given))

    def after(self, path: str, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        """A module was called."""
        if self._inside_layer:
            self._inside_layer -= 1
            if not self._inside_layer:
                self._note(path, args, kwargs, result, bool(getattr(module, "inplace", False)))
        elif module not in self._wrappers:
            part = self._calls[-1].part
            part.result = map_structure(self._seen, result)
            call = self._calls.pop()
            self.parts.append(part)
            if self._calls:
                changes = any(step.changes for step in part.steps)
                self._note(path, tuple(call.given.values()), {}, result, changes)

    def _note(self, function: Any, args: Any, kwargs: Any, result: Any, changes: bool) -> None:
        call = self._calls[-1]
        seen = map_structure(self._seen, args), map_structure(self._seen, kwargs)
        step = Step(function, *seen, changes=changes)
        step.result = map_structure(lambda one: self._made(one, step, call.table), result)
        call.part.steps.append(step)

    def _made(self, one: Any, step: Step, table: dict[int, Value]) -> Any:
        if not isinstance(one, Tensor):
            return None
        self._kept.append(one)
        table[id(one)] = Value(step, one.shape)
        return table[id(one)]

    def _enter(self, one: Any, table: dict[int, Value]) -> Any:
        if not isinstance(one, Tensor):
            return one
        self._kept.append(one)
        return table.setdefault(id(one), Value(None, one.shape))

    def _seen(self, one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        part, table = self._calls[-1].part, self._calls[-1].table
        if id(one) in table:
            return table[id(one)]
        found = self._named.get(id(one))
        if found is None or not found.name.startswith(f"{part.path}." * bool(part.path)):
            raise InvalidValueError(
                f"{type(part.module).__name__} uses a tensor of shape {tuple(one.shape)} that is "
                "neither computed from its input nor a parameter or buffer of its own: register "
                "it as a buffer, or export as .onnx or .safetensors"
            )
        return found


def _changes(name: str, kwargs: Mapping[str, Any]) -> bool:
    """Whether a function of torch changes one of its arguments."""
    in_place = name.endswith("_") and not name.endswith("__")
    operator = name in ("__setitem__", "__delitem__") or (
        name.startswith("__i") and name not in ("__invert__", "__index__", "__int__")
    )
    return in_place or operator or bool(kwargs.get("inplace")) or kwargs.get("out") is not None


@torch.no_grad()
def _run(network: nn.Module, images: Tensor) -> list[Part]:
    recorder = _Recorder(network)
    with _hooked(network, recorder), recorder:
        result = network(images)
    if not isinstance(result, Tensor):
        raise InvalidValueError(
            f"{type(network).__name__} must give one tensor, got {type(result).__name__}"
        )
    return recorder.parts


@contextmanager
def _hooked(network: nn.Module, recorder: _Recorder) -> Iterator[None]:
    handles = []
    for path, module in network.named_modules():

        def before(module: nn.Module, args: Any, kwargs: Any, path: str = path) -> None:
            recorder.before(path, module, args, kwargs)

        def after(module: nn.Module, args: Any, kwargs: Any, result: Any, path: str = path) -> None:
            recorder.after(path, module, args, kwargs, result)

        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _bound(module: nn.Module, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by their names."""
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    kinds = bound.signature.parameters.values()
    if any(kind.kind in (kind.VAR_POSITIONAL, kind.VAR_KEYWORD) for kind in kinds):
        raise InvalidValueError(
            f"forward of {type(module).__name__} must name its arguments, and takes any number"
        )
    return dict(bound.arguments)


def _tensors(value: Any) -> list[Tensor]:
    return [one for one in leaves(value) if isinstance(one, Tensor)]


def _told_apart(one: Any, other: Any, module: nn.Module) -> Any:
    """Constants of two runs, those that follow the number of examples replaced."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            raise _undecided(module)
        both = zip(one, other, strict=True)
        kind = list if isinstance(one, list) else tuple
        return kind(_told_apart(first, second, module) for first, second in both)
    if isinstance(one, Mapping):
        return {key: _told_apart(one[key], other[key], module) for key in one}
    if isinstance(one, slice) and isinstance(other, slice):
        ends = ((getattr(one, end), getattr(other, end)) for end in ("start", "stop", "step"))
        return slice(*(_told_apart(first, second, module) for first, second in ends))
    if isinstance(one, Value | Parameter) or one == other:
        return one
    times = [count / n for count, n in zip((one, other), _BATCHES, strict=True)]
    if isinstance(one, int) and times[0] == times[1] and times[0].is_integer():
        return Batch(int(times[0]))
    raise _undecided(module)


def _undecided(module: nn.Module) -> InvalidValueError:
    return InvalidValueError(
        f"{type(module).__name__} computes otherwise for another number of examples, which code "
        "for all inputs cannot be written of: export it as .onnx or .safetensors"
    )
