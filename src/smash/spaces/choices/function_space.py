"""The search space of a network function."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Tensor, nn

from smash.errors import InvalidValueError, unknown
from smash.spaces.base import Definition, SearchSpace, Shape
from smash.spaces.choices.choose import (
    Answering,
    Caller,
    Choices,
    Drawing,
    NetworkFunction,
    Rejected,
)
from smash.spaces.choices.chosen import Chosen
from smash.spaces.choices.options import (
    Option,
    as_json,
    check_same_options,
    is_number,
    quoted,
    same_json,
)
from smash.spaces.choices.walk import Walk, walk
from smash.spaces.task import MOST_READABLE, Task

CHOSEN_MODULES = ("smash.spaces.task", "smash.spaces.choices.chosen")
"""Modules that a network function is called with."""


class FunctionSpace(SearchSpace[Choices]):
    """The search space of a network function; `space` makes it.

    Args:
        network: Builds the child: ``network(choose, task)``.
        name: Name of the space.
        task: The task of the children; until it is bound, images of 32×32 in ten classes.

    Example:
        >>> def network(choose, task):
        ...     width = choose("width", (4, 8))
        ...     return nn.Sequential(nn.Flatten(), nn.Linear(task.channels * 64, width), nn.ReLU(),
        ...                          nn.Linear(width, task.classes))
        >>> space = FunctionSpace(network, "mlp").bind(Task(channels=1, size=(8, 8), classes=3))
        >>> sorted({space.sample(np.random.default_rng(seed))["width"] for seed in range(9)})
        [4, 8]
    """

    def __init__(self, network: NetworkFunction, name: str, task: Task | None = None) -> None:
        _check_signature(network, name)
        self.function = network
        self.name = name
        self.task = task or Task(channels=3, size=(32, 32), classes=10)
        self._caller = Caller(network, name, self.task)
        self._drawn: tuple[Choices, nn.Module] | None = None

    def bind(self, task: Task) -> FunctionSpace:
        """Makes the same space for another task, on which choices may depend."""
        return self if task == self.task else FunctionSpace(self.function, self.name, task)

    def __reduce__(self) -> tuple[Any, ...]:
        # Cloudpickle sends the code of functions that another process cannot import; in that
        # process, nothing of their module is imported.
        sent = {"__main__", *cloudpickle.list_registry_pickle_by_value()}
        found_by_name = sys.modules.keys() - sent
        if inspect.isfunction(self.function) and self.function.__module__ in found_by_name:
            # A decorated function is the space itself, so it is found by its name and taken out.
            where = (self.function.__module__, self.function.__qualname__)
            return _restore, (*where, self.name, self.task)
        return FunctionSpace, (self.function, self.name, self.task)

    def sample(self, rng: np.random.Generator, progress: float = 1.0) -> Choices:
        """Draws each choice that is reached by its weights, until `require` accepts all.

        So architectures are drawn with the probability of their choices, given that all conditions
        hold.

        Raises:
            InvalidValueError: Conditions refused `MOST_REJECTED` draws in a row.
        """
        return self._draw(lambda: Drawing(rng))

    def mutate(
        self, architecture: Choices, rng: np.random.Generator, rate: float = 0.05
    ) -> Choices:
        """Redraws each choice that was reached with probability `rate`, at least one of them.

        All others keep their value where it is still asked for; choices that are newly reached are
        drawn.
        """
        names = [name for name, _ in architecture.items if len(self._walk.options[name]) > 1]

        def drawing() -> Drawing:
            redrawn = {name for name in names if rng.random() < rate}
            redrawn = redrawn or {names[int(rng.integers(len(names)))]}
            kept = {name: value for name, value in architecture.items if name not in redrawn}
            avoided = {name: architecture[name] for name in redrawn}
            return Drawing(rng, kept, avoided)

        return self._draw(drawing, other_than=architecture)

    def _draw(self, drawing: Callable[[], Drawing], other_than: Choices | None = None) -> Choices:
        """Draws an architecture, each of whose choices is known from the walk."""
        chooser, child = self._caller.draw(drawing, other_than)
        architecture = chooser.architecture
        self._drawn = architecture, child
        for name, options in chooser.asked.items():
            if name not in self._walk.options:
                raise InvalidValueError(
                    f"space {self.name!r}: choice {name!r} was not met when the space was made, "
                    f"with {architecture}: let fewer choices decide whether it is asked for"
                )
            check_same_options(name, self._walk.options[name], options, self.name)
        return architecture

    def build(
        self, architecture: Choices, task: Task, device: str | torch.device = "meta"
    ) -> nn.Module:
        """Builds the child, or hands over the one that was built to draw the architecture.

        That is half of the time of drawing and building.
        """
        drawn, self._drawn = self._drawn, None
        if drawn and drawn[0] == architecture and task == self.task and str(device) == "meta":
            return drawn[1]
        return super().build(architecture, task, device)

    def network(self, architecture: Choices, task: Task) -> nn.Module:
        """Calls the function with the choices of the architecture.

        Raises:
            InvalidValueError: The function asks for a choice that the architecture does not have.
        """
        caller = Caller(self.function, self.name, task)
        return caller.call(Answering(architecture, self.name), device=None)

    def definition(self, architecture: Choices, task: Task) -> Definition:
        """Gives the source file of the function, which needs torch and the standard library alone.

        Raises:
            InvalidValueError: The function has no source file.
        """
        if not inspect.isfunction(self.function) or self.function.__module__ == "__main__":
            raise InvalidValueError(
                f"space {self.name!r}: its function has no module that could be written to a "
                "file: move it to a module of its own, or export as .onnx or .safetensors"
            )
        # Whatever they are called; `_check_signature` has made sure that there are two.
        names = [*inspect.signature(self.function).parameters][:2]
        return Definition(
            modules=(*CHOSEN_MODULES, self.function.__module__),
            network=self.function,
            arguments=dict(zip(names, (Chosen(architecture.values), task), strict=True)),
        )

    @cached_property
    def _walk(self) -> Walk:
        return walk(self._caller)

    def features(self, architecture: Choices) -> Tensor:
        """Gives a number for each option, in the order of the walk: 1 if it is chosen, else 0."""
        return torch.tensor(
            [
                float(name in architecture and architecture[name] == option)
                for name, options in self._walk.options.items()
                for option in options
            ]
        )

    def readable(self, architecture: Choices) -> Mapping[str, float]:
        """Gives the choices between numbers; 0 for a choice that was not reached."""
        return {
            name: float(architecture.values.get(name, 0))
            for name, options in self._walk.options.items()
            if all(is_number(option) and 0 <= option <= MOST_READABLE for option in options)
        }

    def to_json(self, architecture: Choices) -> dict[str, Any]:
        """Gives ``{name: value}``; tuples become lists."""
        return {name: as_json(value) for name, value in architecture.items}

    def from_json(self, value: Mapping[str, Any]) -> Choices:
        """Reads ``{name: value}``: each choice that is reached, and no other.

        Raises:
            InvalidValueError: A choice is missing, is not reached, or has no such option.
        """
        known = self._walk.options
        faults = [unknown("choice", name, known) for name in value if name not in known]
        chosen: dict[str, Option] = {}
        for name in value.keys() & known.keys():
            found = [option for option in known[name] if same_json(option, value[name])]
            if found:
                chosen[name] = found[0]
            else:
                faults.append(
                    f"choice {name!r} must be one of {quoted(known[name])}, got {value[name]!r}"
                )
        if faults:
            raise InvalidValueError(*faults)
        choices = Choices(tuple(chosen.items()))
        answering = Answering(choices, self.name)
        try:
            self._caller.call(answering)
        except Rejected:
            raise InvalidValueError(
                f"space {self.name!r}: choose.require refuses {choices}"
            ) from None
        unreached = sorted(chosen.keys() - answering.reached.keys())
        if unreached:
            raise InvalidValueError(
                f"space {self.name!r}: choice {unreached[0]!r} is not reached with the others: "
                "leave it out"
            )
        return answering.architecture

    def largest(self) -> Choices:
        """Gives the architecture with the most parameters of those that the walk met."""
        return self._walk.largest

    def smallest(self) -> Choices:
        """Gives the architecture whose parameters no single choice lowers any further."""
        return self._walk.smallest

    def shared_shapes(self, task: Task) -> Mapping[str, Shape]:
        """Gives the largest shape of each parameter, axis by axis, over the walk."""
        return self.bind(task)._walk.shapes


def space(network: NetworkFunction | None = None, *, name: str | None = None) -> Any:
    """Makes a search space of a function that builds the network: ``smash.space(network)``.

    It is a decorator as well. In this program, runs find the space by its name.

    Args:
        network: Builds the child: ``network(choose, task)`` gives a `torch.nn.Module`. It asks
            ``choose(name, options)`` where the network may vary, and may refuse an architecture by
            ``choose.require(condition)``. It must not draw random numbers of its own.
        name: Name of the space; that of the function by default.

    Returns:
        The `FunctionSpace`.

    Raises:
        InvalidValueError: The function does not take ``choose`` and ``task``, or the name is that
            of a built-in space.

    Example:
        >>> @space
        ... def pooled(choose, task):
        ...     side = choose("side", (1, 2, 4))
        ...     features = task.channels * side**2
        ...     return nn.Sequential(nn.AdaptiveMaxPool2d(side), nn.Flatten(),
        ...                          nn.Linear(features, task.classes))
        >>> pooled.name
        'pooled'
    """
    if network is None:
        return lambda function: space(function, name=name)
    _check_signature(network, name or str(getattr(network, "__name__", network)))
    found = FunctionSpace(network, name or network.__name__.replace("_", "-"))
    from smash.spaces import register_space

    register_space(found)
    return found


def _check_signature(network: NetworkFunction, name: str) -> None:
    if not callable(network):
        raise InvalidValueError(
            f"space {name!r} must be made of a function network(choose, task), got a "
            f"{type(network).__name__}"
        )
    try:
        signature = inspect.signature(network)
        signature.bind(**dict.fromkeys([*signature.parameters][:2]))
        signature.bind(None, None)
    except (TypeError, ValueError):
        raise InvalidValueError(
            f"space {name!r}: the function must take (choose, task), got "
            f"{getattr(network, '__name__', network)}{inspect.signature(network)}"
        ) from None


def _restore(module: str, qualname: str, name: str, task: Task) -> FunctionSpace:
    """Finds the function that a pickled space was made of, in another process."""
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    network = found.function if isinstance(found, FunctionSpace) else found
    return FunctionSpace(network, name, task)
