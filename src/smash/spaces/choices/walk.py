"""The walk over a space: its choices, the largest shape of each parameter, its extremes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from smash.errors import InvalidValueError
from smash.runtime.rng import global_states
from smash.spaces.base import Shape
from smash.spaces.choices.choose import (
    Answering,
    Caller,
    Choices,
    Chooser,
    Drawing,
    Forcing,
    Rejected,
)
from smash.spaces.choices.options import Option, are_numbers, check_same_options
from smash.spaces.parameters import NO_CONSTANTS, constant_buffers

_QUIET_DRAWS = 48  # in a row without a new parameter, after which the walk ends


@dataclass(frozen=True)
class Walk:
    """The results of the walk over a space.

    Attributes:
        options: Options of each choice, in the order in which they were met.
        shapes: Largest shape of each parameter, axis by axis.
        largest: The architecture with the most parameters.
        smallest: The cheapest architecture.
    """

    options: Mapping[str, tuple[Option, ...]]
    shapes: Mapping[str, Shape]
    largest: Choices
    smallest: Choices


@lru_cache(maxsize=32)
def walk(caller: Caller) -> Walk:
    """Visits each option of each choice once, with all other numbers at their largest.

    Where a parameter exists only by two choices together, such as a shortcut where two widths
    differ, random draws find it. From each draw that finds one, single numbers are raised to their
    largest in turn, and then together as far as the parameter still exists, so that its shape is
    the largest too.

    Raises:
        InvalidValueError: The function is not a network function of the task.
    """
    return _Walker(caller).walk()


class _Walker:
    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._options: dict[str, tuple[Option, ...]] = {}
        self._paths: dict[str, dict[str, Option]] = {}  # choices by which a name was first reached
        self._shapes: dict[str, Shape] = {}
        self._sizes: dict[Choices, int] = {}
        self._visited: set[tuple[str, Option]] = set()
        self._met: set[str] = set()  # parameters of the child that was built last

    def walk(self) -> Walk:
        first = self._visit(Forcing({}))
        if first is None:
            rng = np.random.default_rng(0)
            first = self._caller.draw(lambda: Drawing(rng))[0].architecture
        self._check_base(first)
        while waiting := [
            (name, option)
            for name, options in self._options.items()
            for option in options
            if (name, option) not in self._visited
        ]:
            for name, option in waiting:
                self._visited.add((name, option))
                self._visit(Forcing({**self._paths[name], name: option}))
        self._visit_at_random()
        if all(len(options) < 2 for options in self._options.values()):
            raise InvalidValueError(
                f"space {self._caller.space!r} holds one network, so there is nothing to search: "
                "ask choose for something, with two options or more"
            )
        smallest = self._descend()
        largest = max(self._sizes, key=self._sizes.__getitem__)
        return Walk(self._options, self._shapes, largest, smallest)

    def _visit(self, chooser: Chooser) -> Choices | None:
        """Builds a child, takes in its choices and shapes; None where it is refused."""
        try:
            child = self._caller.call(chooser)
        except Rejected:
            child = None
        self._met = set()
        path: dict[str, Option] = {}
        for name, options in chooser.asked.items():
            known = self._options.setdefault(name, options)
            check_same_options(name, known, options, self._caller.space)
            if name not in self._paths:
                self._paths[name] = dict(path)
                self._visited.add((name, chooser.reached[name]))
            path[name] = chooser.reached[name]
        if child is None:
            return None
        architecture = chooser.architecture
        self._check_child(architecture, child)
        self._sizes[architecture] = sum(p.numel() for p in child.parameters())
        for name, parameter in child.named_parameters():
            shape = tuple(parameter.shape)
            whole = self._shapes.get(name, shape)
            if len(whole) != len(shape):
                raise InvalidValueError(
                    f"space {self._caller.space!r}: parameter {name!r} has {len(shape)} axes with "
                    f"{architecture} and {len(whole)} with other choices: give alternatives "
                    "modules of different names"
                )
            self._shapes[name] = tuple(map(max, whole, shape))
            self._met.add(name)
        return architecture

    def _check_child(self, architecture: Choices, child: nn.Module) -> None:
        """Makes sure that a child holds nothing but parameters that weights can be given to."""
        names = dict(child.named_parameters())
        faults = [f"has buffer {name!r}: {NO_CONSTANTS}" for name in constant_buffers(child)]
        for name, parameter in child.named_parameters(remove_duplicate=False):
            if is_lazy(parameter):
                faults.append(f"has a lazy layer, {name!r}: give the layer its number of inputs")
            elif name not in names:
                faults.append(
                    f"holds parameter {name!r} under another name too: make each layer anew, or "
                    "call one of a single name several times"
                )
        if faults:
            raise InvalidValueError(
                f"space {self._caller.space!r}: the network of {architecture} {faults[0]}"
            )

    def _visit_at_random(self) -> None:
        rng, quiet = np.random.default_rng(0), 0
        for _ in range(40 * _QUIET_DRAWS):
            before = dict(self._shapes)
            architecture = self._visit(Drawing(rng))
            if self._shapes == before:
                quiet += 1
                if quiet == _QUIET_DRAWS:
                    return
                continue
            quiet = 0
            if architecture is not None:
                grown = {name for name in self._shapes if self._shapes[name] != before.get(name)}
                self._raise_numbers(architecture, grown)

    def _raise_numbers(self, architecture: Choices, grown: set[str]) -> None:
        """Raises the numbers of a draw, each by itself and together, as far as `grown` exist."""
        raised: dict[str, Option] = architecture.values
        for name, value in architecture.items:
            options = self._options[name]
            if not are_numbers(options) or value == max(options):
                continue
            self._visit(Forcing({**architecture.values, name: max(options)}))
            higher = {**raised, name: max(options)}
            self._visit(Forcing(higher))
            if grown <= self._met:
                raised = higher

    def _descend(self) -> Choices:
        """Finds the cheapest architecture: all numbers at their least, then choice by choice."""
        least = {
            name: min(options) for name, options in self._options.items() if are_numbers(options)
        }
        best = self._visit(Forcing(least)) or min(self._sizes, key=self._sizes.__getitem__)
        improved = True
        while improved:
            improved = False
            for name, value in best.items:
                for option in self._options[name]:
                    if option == value:
                        continue
                    other = self._visit(Forcing({**least, **best.values, name: option}))
                    if other is not None and self._sizes[other] < self._sizes[best]:
                        best, improved = other, True
        return best

    def _check_base(self, architecture: Choices) -> None:
        """Makes sure that equal choices give equal networks, and that they accept the task."""
        space, task = self._caller.space, self._caller.task
        before = global_states()
        child, other = (self._caller.call(Answering(architecture, space)) for _ in range(2))
        draws = global_states() != before
        shapes = [
            {name: parameter.shape for name, parameter in each.named_parameters()}
            for each in (child, other)
        ]
        again = Forcing({})
        try:
            self._caller.call(again)
        except Rejected:
            again.reached = architecture.values
        if draws or shapes[0] != shapes[1] or again.reached != architecture.values:
            found = "it draws random numbers" if draws else "two builds of the same choices differ"
            raise InvalidValueError(
                f"space {space!r}: {found}: draw random numbers by choose alone"
            )
        images = torch.empty(2, task.channels, *task.size, device="meta")
        try:
            logits = child.eval()(images)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InvalidValueError(
                f"space {space!r}: the network of {architecture} does not accept inputs of "
                f"shape {tuple(images.shape)}: {reason}"
            ) from None
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if shape != (2, task.classes):
            raise InvalidValueError(
                f"space {space!r}: the network of {architecture} must give logits of shape "
                f"{(2, task.classes)}, got {shape}"
            )
