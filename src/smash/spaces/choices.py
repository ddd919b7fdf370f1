"""A search space of one function that builds the network and chooses where it may vary.

    def network(choose, task):
        width, depth = choose("width", (8, 16, 24)), choose("depth", (2, 3))
        blocks = [Block(width, choose(f"kernel {i}", (3, 5))) for i in range(depth)]
        return nn.Sequential(Stem(task.channels, width), *blocks, Head(width, task.classes))

    space = smash.space(network)

An architecture is the choices that one call of the function reached. Drawing one is a call that
answers each question at random, building its child is a call that answers as before. Once per task
a walk takes each option of each choice, with all other numbers at their largest: it finds the
choices that exist, whose meaning is fixed from then on, and the largest shape of each parameter,
of which children share their parts.
"""

from __future__ import annotations

import importlib
import inspect
import json
from bisect import bisect
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from smash.errors import InvalidValueError, unknown
from smash.spaces.base import Definition, SearchSpace, Shape
from smash.spaces.chosen import Chosen
from smash.spaces.parameters import without_values
from smash.spaces.task import MOST_READABLE, Task

Option = Any
"""A string, number, truth value, None, or a tuple of such."""

CHOSEN_MODULES = ("smash.spaces.task", "smash.spaces.chosen")
"""Modules that a network function is called with."""

MOST_REJECTED = 1000
"""Draws in a row that `Choose.require` may refuse before the space counts as unusable."""

_PLACEHOLDER_EXTENT = {1: 1024, 2: 32, 3: 16}
_QUIET_DRAWS = 48  # in a row without a new parameter, after which the walk ends
_NOTHING = object()


class Choose(Protocol):
    """What the network function is given to ask with."""

    def __call__(
        self, name: str, options: Sequence[Option], weights: Sequence[float] | None = None
    ) -> Any:
        """Chooses one of the options.

        Args:
            name: Name of the choice; a name that is asked again gets the same answer.
            options: What may be chosen, in an order that means something where there is one.
            weights: How often each option is drawn, relative to the others; all alike by default.

        Returns:
            The option that the architecture has.
        """

    def require(self, condition: bool) -> None:
        """Refuses the architecture unless the condition holds; another one is drawn instead."""


NetworkFunction = Callable[[Choose, Task], nn.Module]


@dataclass(frozen=True)
class Choices:
    """An architecture: the choices that building it reached, in that order.

    Example:
        >>> architecture = Choices((("width", 8), ("kernel", 3)))
        >>> architecture["kernel"]
        3
    """

    items: tuple[tuple[str, Option], ...]
    _values: dict[str, Option] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_values", dict(self.items))

    def __getitem__(self, name: str) -> Option:
        return self._values[name]

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.items)


class FunctionSpace(SearchSpace[Choices]):
    """The search space of a network function; `space` makes it.

    Args:
        network: Builds the child: ``network(choose, task)``.
        name: Name of the space.
        task: What children are for; until it is bound, images of 32×32 in ten classes.

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
        self._drawn: tuple[Choices, nn.Module] | None = None

    def bind(self, task: Task) -> FunctionSpace:
        """The same space for another task, of which choices may depend."""
        return self if task == self.task else FunctionSpace(self.function, self.name, task)

    def __reduce__(self) -> tuple[Any, ...]:
        if inspect.isfunction(self.function):
            # A decorated function is the space itself, so it is found by its name and taken out.
            where = (self.function.__module__, self.function.__qualname__)
            return _restore, (*where, self.name, self.task)
        return FunctionSpace, (self.function, self.name, self.task)

    def sample(self, rng: np.random.Generator, progress: float = 1.0) -> Choices:
        """Draws each choice that is reached, by its weights; what `require` refuses, anew.

        So architectures are drawn with the probability of their choices, given that all conditions
        hold.

        Raises:
            InvalidValueError: Conditions refused `MOST_REJECTED` draws in a row.
        """
        return self._known(self._draw(lambda: _Drawing(rng)))

    def mutate(
        self, architecture: Choices, rng: np.random.Generator, rate: float = 0.05
    ) -> Choices:
        """Redraws each choice that was reached with probability `rate`, at least one of them.

        All others keep their value where it is still asked for; choices that are newly reached are
        drawn.
        """
        names = [name for name, _ in architecture.items if len(self._walk.options[name]) > 1]

        def drawing() -> _Drawing:
            redrawn = {name for name in names if rng.random() < rate}
            redrawn = redrawn or {names[int(rng.integers(len(names)))]}
            kept = {name: value for name, value in architecture.items if name not in redrawn}
            avoided = {name: architecture[name] for name in redrawn}
            return _Drawing(rng, kept, avoided)

        return self._known(self._draw(drawing, other_than=architecture))

    def _draw(self, drawing: Callable[[], _Drawing], other_than: Choices | None = None) -> _Drawing:
        for _ in range(MOST_REJECTED):
            chooser = drawing()
            try:
                child = self._call(chooser, self.task, "meta")
            except Rejected:
                continue
            self._drawn = chooser.architecture, child
            if chooser.architecture != other_than:
                return chooser
        raise InvalidValueError(
            f"space {self.name!r}: choose.require refused {MOST_REJECTED:,} architectures in a "
            "row: let the choices themselves leave out what is not wanted"
        )

    def build(
        self, architecture: Choices, task: Task, device: str | torch.device = "meta"
    ) -> nn.Module:
        """Builds the child; the one that was built to be drawn, where nobody has it yet.

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
        return self._call(_Answering(architecture, self.name), task)

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
        return Definition(
            modules=(*CHOSEN_MODULES, self.function.__module__),
            network=self.function,
            arguments={"choose": Chosen(dict(architecture.items)), "task": task},
        )

    def _call(self, chooser: _Chooser, task: Task, device: str | None = None) -> nn.Module:
        with without_values(device) if device else nullcontext():
            network = self.function(chooser, task)
        if not isinstance(network, nn.Module):
            raise InvalidValueError(
                f"space {self.name!r}: the function must return a torch.nn.Module, got a "
                f"{type(network).__name__}"
            )
        return network

    @cached_property
    def _walk(self) -> _Walk:
        return _walk(self.function, self.name, self.task)

    def _known(self, chooser: _Drawing) -> Choices:
        """The drawn architecture, once each of its choices is known from the walk."""
        for name, options in chooser.asked.items():
            known = self._walk.options.get(name)
            if known is None:
                raise InvalidValueError(
                    f"space {self.name!r}: choice {name!r} was not met when the space was made, "
                    f"with {chooser.architecture}: let fewer choices decide "
                    "whether it is asked for"
                )
            if known != options:
                raise InvalidValueError(_other_options(self.name, name, known, options))
        return chooser.architecture

    def features(self, architecture: Choices) -> Tensor:
        """One number an option, in the order of the walk: 1 where it is chosen, else 0."""
        values = dict(architecture.items)
        return torch.tensor(
            [
                float(name in values and values[name] == option)
                for name, options in self._walk.options.items()
                for option in options
            ]
        )

    def readable(self, architecture: Choices) -> Mapping[str, float]:
        """The choices between numbers; 0 where one was not reached."""
        return {
            name: float(architecture[name]) if name in architecture else 0.0
            for name, options in self._walk.options.items()
            if all(_is_number(option) and 0 <= option <= MOST_READABLE for option in options)
        }

    def to_json(self, architecture: Choices) -> dict[str, Any]:
        """Gives ``{name: value}``; tuples become lists."""
        return {name: _as_json(value) for name, value in architecture.items}

    def from_json(self, value: Mapping[str, Any]) -> Choices:
        """Reads ``{name: value}``: each choice that is reached, and no other.

        Raises:
            InvalidValueError: A choice is missing, is not reached, or has no such option.
        """
        known = self._walk.options
        faults = [unknown("choice", name, known) for name in value if name not in known]
        chosen: dict[str, Option] = {}
        for name in value.keys() & known.keys():
            found = [option for option in known[name] if _same_json(option, value[name])]
            if found:
                chosen[name] = found[0]
            else:
                faults.append(
                    f"choice {name!r} must be one of {_listed(known[name])}, got {value[name]!r}"
                )
        if faults:
            raise InvalidValueError(*faults)
        answering = _Answering(Choices(tuple(chosen.items())), self.name)
        try:
            self._call(answering, self.task, "meta")
        except Rejected:
            raise InvalidValueError(
                f"space {self.name!r}: choose.require refuses {Choices(tuple(chosen.items()))}"
            ) from None
        unreached = sorted(chosen.keys() - answering.reached.keys())
        if unreached:
            raise InvalidValueError(
                f"space {self.name!r}: choice {unreached[0]!r} is not reached with the others: "
                "leave it out"
            )
        return answering.architecture

    def largest(self) -> Choices:
        """The architecture with the most parameters of those that the walk met."""
        return self._walk.largest

    def smallest(self) -> Choices:
        """The cheapest architecture that was found by descent over single choices.

        Parameters and the number of multiplications of the walk's own estimate are lowered together
        until no single choice lowers them any further.
        """
        return self._walk.smallest

    def shared_shapes(self, task: Task) -> Mapping[str, Shape]:
        """The largest shape of each parameter, axis by axis, over the walk."""
        return self.bind(task)._walk.shapes

    def check_fits(self, architecture: Choices, child: nn.Module) -> None:
        """Makes sure that each parameter of a child is a part of a shared tensor.

        Raises:
            InvalidValueError: One is not; it and the choices are named.
        """
        shapes = self._walk.shapes
        for name, parameter in child.named_parameters():
            shape, whole = tuple(parameter.shape), shapes.get(name)
            if whole is None or len(whole) != len(shape) or any(map(int.__gt__, shape, whole)):
                raise InvalidValueError(
                    f"space {self.name!r}: parameter {name!r} has the shape {shape} with "
                    f"{architecture}, larger than the {whole} that the walk over single choices "
                    "found: give alternatives modules of different names"
                )


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
        InvalidValueError: The function does not take ``choose`` and ``task``.
    """
    if network is None:
        return lambda function: space(function, name=name)
    found = FunctionSpace(network, name or network.__name__.replace("_", "-"))
    from smash.spaces import SPACES

    SPACES[found.name] = lambda settings, dims: found
    return found


class Rejected(Exception):  # noqa: N818 - not an error: another architecture is drawn
    """Raised by ``choose.require`` where its condition does not hold."""


@dataclass
class _Chooser:
    """Answers what the function asks, and remembers it."""

    reached: dict[str, Option] = field(default_factory=dict)
    asked: dict[str, tuple[Option, ...]] = field(default_factory=dict)

    @property
    def architecture(self) -> Choices:
        return Choices(tuple(self.reached.items()))

    def __call__(
        self, name: str, options: Sequence[Option], weights: Sequence[float] | None = None
    ) -> Any:
        checked = _checked(name, options, weights)
        if self.asked.setdefault(name, checked) != checked:
            raise InvalidValueError(_other_options("", name, self.asked[name], checked))
        if name not in self.reached:
            self.reached[name] = self.answer(name, checked, weights)
        return self.reached[name]

    def answer(
        self, name: str, options: tuple[Option, ...], weights: Sequence[float] | None
    ) -> Option:
        raise NotImplementedError

    def require(self, condition: bool) -> None:
        if not condition:
            raise Rejected


class _Drawing(_Chooser):
    """Draws answers; keeps those that are given as long as they are still among the options."""

    def __init__(
        self,
        rng: np.random.Generator,
        kept: Mapping[str, Option] | None = None,
        avoided: Mapping[str, Option] | None = None,
    ) -> None:
        super().__init__()
        self._rng, self._kept, self._avoided = rng, kept or {}, avoided or {}

    def answer(
        self, name: str, options: tuple[Option, ...], weights: Sequence[float] | None
    ) -> Option:
        if name in self._kept and self._kept[name] in options:
            return self._kept[name]
        avoided = self._avoided.get(name, _NOTHING)
        shares = [
            0.0 if option == avoided and len(options) > 1 else share
            for option, share in zip(options, weights or [1.0] * len(options), strict=True)
        ]
        if not any(shares):  # all weight is on the option to avoid
            shares = [float(option != avoided) for option in options]
        ends = list(accumulate(shares))  # quicker than Generator.choice for so few
        return options[bisect(ends, ends[-1] * self._rng.random())]


class _Answering(_Chooser):
    """Answers as an architecture says."""

    def __init__(self, architecture: Choices, space: str) -> None:
        super().__init__()
        self._answers, self._space = architecture, space

    def answer(
        self, name: str, options: tuple[Option, ...], weights: Sequence[float] | None
    ) -> Option:
        if name not in self._answers:
            raise InvalidValueError(
                f"space {self._space!r}: choice {name!r} is missing in {self._answers}"
            )
        value = self._answers[name]
        if value not in options:
            raise InvalidValueError(
                f"space {self._space!r}: choice {name!r} must be one of {_listed(options)}, "
                f"got {value!r}"
            )
        return value


class _Forcing(_Chooser):
    """Answers as forced, and otherwise with the largest number, or the first of other options."""

    def __init__(self, forced: Mapping[str, Option]) -> None:
        super().__init__()
        self._forced = forced

    def answer(
        self, name: str, options: tuple[Option, ...], weights: Sequence[float] | None
    ) -> Option:
        if name in self._forced and self._forced[name] in options:
            return self._forced[name]
        return max(options) if all(map(_is_number, options)) else options[0]


@dataclass(frozen=True)
class _Walk:
    """What the walk over a space found.

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
def _walk(network: NetworkFunction, name: str, task: Task) -> _Walk:
    return _Walker(FunctionSpace(network, name, task)).walk()


class _Walker:
    """Visits each option of each choice once, with all other numbers at their largest.

    Where a parameter exists only by two choices together, such as a shortcut where two widths
    differ, random draws find it; from each draw that finds one, single numbers are raised to their
    largest in turn, so that its shape is the largest too.
    """

    def __init__(self, space: FunctionSpace) -> None:
        self._space = space
        self._options: dict[str, tuple[Option, ...]] = {}
        self._paths: dict[str, dict[str, Option]] = {}  # choices by which a name was first reached
        self._shapes: dict[str, Shape] = {}
        self._sizes: dict[Choices, int] = {}

    def walk(self) -> _Walk:
        first = self._visit(_Forcing({}))
        if first is None:
            rng = np.random.default_rng(0)
            first = self._space._draw(lambda: _Drawing(rng)).architecture
        self._check_base(first)
        visited: set[tuple[str, int]] = set()
        while waiting := [
            (name, number)
            for name, options in self._options.items()
            for number in range(len(options))
            if (name, number) not in visited
        ]:
            for name, number in waiting:
                visited.add((name, number))
                self._visit(_Forcing({**self._paths[name], name: self._options[name][number]}))
        self._visit_at_random()
        smallest = self._descend()
        largest = max(self._sizes, key=self._sizes.__getitem__)
        return _Walk(self._options, self._shapes, largest, smallest)

    def _visit(self, chooser: _Chooser) -> Choices | None:
        """Builds a child, takes in its choices and shapes; None where it is refused."""
        try:
            child = self._space._call(chooser, self._space.task, "meta")
        except Rejected:
            child = None
        path: dict[str, Option] = {}
        for name, options in chooser.asked.items():
            known = self._options.setdefault(name, options)
            if known != options:
                raise InvalidValueError(_other_options(self._space.name, name, known, options))
            self._paths.setdefault(name, dict(path))
            if name in chooser.reached:
                path[name] = chooser.reached[name]
        if child is None:
            return None
        architecture = chooser.architecture
        self._sizes[architecture] = sum(p.numel() for p in child.parameters())
        for name, parameter in child.named_parameters():
            shape = tuple(parameter.shape)
            whole = self._shapes.get(name, shape)
            if len(whole) != len(shape):
                raise InvalidValueError(
                    f"space {self._space.name!r}: parameter {name!r} has {len(shape)} axes with "
                    f"{architecture} and {len(whole)} with other choices: give alternatives "
                    "modules of different names"
                )
            self._shapes[name] = tuple(map(max, whole, shape))
        return architecture

    def _visit_at_random(self) -> None:
        rng, quiet = np.random.default_rng(0), 0
        for _ in range(40 * _QUIET_DRAWS):
            before = dict(self._shapes)
            architecture = self._visit(_Drawing(rng))
            if self._shapes == before:
                quiet += 1
                if quiet == _QUIET_DRAWS:
                    return
                continue
            quiet = 0
            if architecture is not None:
                for name, value in architecture.items:
                    options = self._options[name]
                    if all(map(_is_number, options)) and value != max(options):
                        self._visit(_Forcing({**dict(architecture.items), name: max(options)}))

    def _descend(self) -> Choices:
        """Finds the cheapest architecture: all numbers at their least, then choice by choice."""
        least = {
            name: min(options)
            for name, options in self._options.items()
            if all(map(_is_number, options))
        }
        best = self._visit(_Forcing(least)) or min(self._sizes, key=self._sizes.__getitem__)
        improved = True
        while improved:
            improved = False
            for name, value in best.items:
                for option in self._options[name]:
                    if option == value:
                        continue
                    other = self._visit(_Forcing({**least, **dict(best.items), name: option}))
                    if other is not None and self._sizes[other] < self._sizes[best]:
                        best, improved = other, True
        return best

    def _check_base(self, architecture: Choices) -> None:
        """Makes sure that equal choices give equal networks, and that they accept the task."""
        space, task = self._space, self._space.task
        one, other = (space.build(architecture, task) for _ in range(2))
        shapes = [{n: tuple(p.shape) for n, p in each.named_parameters()} for each in (one, other)]
        again = _Forcing({})
        try:
            space._call(again, task, "meta")
        except Rejected:
            again.reached = dict(architecture.items)
        if shapes[0] != shapes[1] or again.reached != dict(architecture.items):
            raise InvalidValueError(
                f"space {space.name!r}: two builds of the same choices differ: draw random numbers "
                "by choose alone"
            )
        images = torch.empty(2, task.channels, *task.size, device="meta")
        try:
            logits = one.eval()(images)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InvalidValueError(
                f"space {space.name!r}: the network of {architecture} does not accept inputs of "
                f"shape {tuple(images.shape)}: {reason}"
            ) from None
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if shape != (2, task.classes):
            raise InvalidValueError(
                f"space {space.name!r}: the network of {architecture} must give logits of shape "
                f"{(2, task.classes)}, got {shape}"
            )


_NOTHING = object()


def _check_signature(network: NetworkFunction, name: str) -> None:
    if not callable(network):
        raise InvalidValueError(
            f"space {name!r} must be made of a function network(choose, task), got a "
            f"{type(network).__name__}"
        )
    try:
        inspect.signature(network).bind(None, None)
    except (TypeError, ValueError):
        raise InvalidValueError(
            f"space {name!r}: the function must take (choose, task), got "
            f"{getattr(network, '__name__', network)}{inspect.signature(network)}"
        ) from None


def _checked(
    name: str, options: Sequence[Option], weights: Sequence[float] | None
) -> tuple[Option, ...]:
    """The options as a tuple, once they are what options must be."""
    found = tuple(options)
    if not found:
        raise InvalidValueError(f"choice {name!r} has no options: give at least one")
    for option in found:
        if not _is_plain(option):
            raise InvalidValueError(
                f"choice {name!r}: an option must be a string, a number, a truth value, None or a "
                f"tuple of these, got {option!r:.80}"
            )
    if len(set(found)) < len(found):
        raise InvalidValueError(f"choice {name!r} has an option twice: {_listed(found)}")
    if weights is not None:
        shares = list(weights)
        fit = len(shares) == len(found) and all(
            _is_number(share) and 0 <= share < float("inf") for share in shares
        )
        if not fit or not sum(shares) > 0:
            raise InvalidValueError(
                f"choice {name!r}: weights must be {len(found)} numbers of at least 0, not all 0, "
                f"got {shares}"
            )
    return found


def _is_number(option: Option) -> bool:
    return isinstance(option, int | float) and not isinstance(option, bool)


def _is_plain(option: Option) -> bool:
    if isinstance(option, tuple):
        return all(map(_is_plain, option))
    if isinstance(option, float):
        return option == option and abs(option) != float("inf")
    return option is None or isinstance(option, str | int)


def _key(option: Option) -> Hashable:
    """Tells apart what JSON does, and Python does not: 1, 1.0 and True."""
    return json.dumps(_as_json(option))


def _as_json(option: Option) -> Any:
    return [_as_json(each) for each in option] if isinstance(option, tuple) else option


def _same_json(option: Option, value: Any) -> bool:
    return _key(option) == json.dumps(value)


def _listed(options: Sequence[Option]) -> str:
    return ", ".join(map(repr, options))


def _other_options(
    space: str, name: str, known: Sequence[Option], options: Sequence[Option]
) -> str:
    where = f"space {space!r}: " if space else ""
    return (
        f"{where}choice {name!r} was first asked with the options {_listed(known)}, then with "
        f"{_listed(options)}: give one of them another name"
    )


def _restore(module: str, qualname: str, name: str, task: Task) -> FunctionSpace:
    """Finds the function that a pickled space was made of, in another process."""
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    network = found.function if isinstance(found, FunctionSpace) else found
    return FunctionSpace(network, name, task)
