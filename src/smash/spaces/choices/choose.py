"""Calls of a network function: `choose`, and the ways to answer it."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import nn

from smash.errors import InvalidValueError, SmashError
from smash.spaces.choices.options import (
    Option,
    are_numbers,
    check_same_options,
    checked_options,
    quoted,
)
from smash.spaces.parameters import without_values
from smash.spaces.task import Task

_PACKAGE = Path(__file__).parents[2]

MOST_REJECTED = 1000
"""Draws in a row that `Choose.require` may refuse before the space counts as unusable."""


class Choose(Protocol):
    """Asks for the choices of an architecture; the network function is called with it.

    Example:
        >>> def network(choose: Choose, task: Task) -> nn.Module:
        ...     width = choose("width", (4, 8), weights=(3, 1))
        ...     choose.require(width * task.classes < 100)
        ...     return nn.Linear(width, task.classes)
    """

    def __call__(
        self, name: str, options: Sequence[Option], weights: Sequence[float] | None = None
    ) -> Any:
        """Chooses one of the options.

        Args:
            name: Name of the choice; a name that is asked again gets the same answer.
            options: The values to choose from, in an order that means something where there is one.
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
    values: dict[str, Option] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", dict(self.items))

    def __getitem__(self, name: str) -> Option:
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.items)


class Rejected(Exception):  # noqa: N818 - not an error: another architecture is drawn
    """Raised by ``choose.require`` where its condition does not hold."""


class Chooser(ABC):
    """Answers the questions of one call, and remembers questions and answers."""

    def __init__(self) -> None:
        self.reached: dict[str, Option] = {}
        self.asked: dict[str, tuple[Option, ...]] = {}

    @property
    def architecture(self) -> Choices:
        """The answers so far."""
        return Choices(tuple(self.reached.items()))

    def __call__(
        self, name: str, options: Sequence[Option], weights: Sequence[float] | None = None
    ) -> Any:
        """Chooses one of the options; see `Choose`."""
        checked = checked_options(name, options, weights)
        check_same_options(name, self.asked.setdefault(name, checked), checked)
        if name not in self.reached:
            self.reached[name] = self.answer(name, checked, weights)
        return self.reached[name]

    @abstractmethod
    def answer(
        self, name: str, options: tuple[Option, ...], weights: Sequence[float] | None
    ) -> Option:
        """Answers a question that is asked for the first time."""

    def require(self, condition: bool) -> None:
        """Raises `Rejected` unless the condition holds."""
        if not condition:
            raise Rejected


class Drawing(Chooser):
    """Draws answers by their weights.

    Args:
        rng: Source of randomness.
        kept: Answers to keep where they are still among the options.
        avoided: Answers not to draw again where there is another option.
    """

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
        """Draws one of the options."""
        if name in self._kept and self._kept[name] in options:
            return self._kept[name]
        shares = list(weights or [1.0] * len(options))
        if name in self._avoided and len(options) > 1:
            others = [float(option != self._avoided[name]) for option in options]
            left = [share * other for share, other in zip(shares, others, strict=True)]
            shares = left if any(left) else others  # all weight may be on the one to avoid
        ends = list(accumulate(shares))  # quicker than Generator.choice for so few
        return options[bisect(ends, ends[-1] * self._rng.random())]


class Answering(Chooser):
    """Answers as an architecture says.

    Args:
        architecture: The architecture.
        space: Name of the space, for messages.
    """

    def __init__(self, architecture: Choices, space: str) -> None:
        super().__init__()
        self._answers, self._space = architecture, space

    def answer(
        self, name: str, options: tuple[Option, ...], weights: Sequence[float] | None
    ) -> Option:
        """Looks the choice up.

        Raises:
            InvalidValueError: The architecture lacks the choice, or has no such option.
        """
        if name not in self._answers:
            raise InvalidValueError(
                f"space {self._space!r}: choice {name!r} is missing in {self._answers}"
            )
        value = self._answers[name]
        if value not in options:
            raise InvalidValueError(
                f"space {self._space!r}: choice {name!r} must be one of {quoted(options)}, "
                f"got {value!r}"
            )
        return value


class Forcing(Chooser):
    """Answers as forced, and otherwise with the largest number, or the first of other options."""

    def __init__(self, forced: Mapping[str, Option]) -> None:
        super().__init__()
        self._forced = forced

    def answer(
        self, name: str, options: tuple[Option, ...], weights: Sequence[float] | None
    ) -> Option:
        """Takes the forced option where it is among the options."""
        if name in self._forced and self._forced[name] in options:
            return self._forced[name]
        return max(options) if are_numbers(options) else options[0]


def _place_of(error: Exception) -> str:
    """Names the line of the user's code that an error comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if _PACKAGE not in Path(frame.filename).parents and "site-packages" not in frame.filename
    ]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}"


@dataclass(frozen=True)
class Caller:
    """Calls the network function of a space for one task.

    Attributes:
        function: The network function.
        space: Name of the space, for messages.
        task: The task of the children.
    """

    function: NetworkFunction
    space: str
    task: Task

    def call(self, chooser: Chooser, device: str | None = "meta") -> nn.Module:
        """Builds a child on a device without values, or as torch does if the device is None.

        Raises:
            Rejected: The function refuses the architecture.
            InvalidValueError: The function fails, or returns no module.
        """
        try:
            with nullcontext() if device is None else without_values(device):
                child = self.function(chooser, self.task)
        except (Rejected, SmashError):
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise InvalidValueError(
                f"space {self.space!r}: the function fails in {_place_of(error)}: {reason}"
            ) from error
        if not isinstance(child, nn.Module):
            raise InvalidValueError(
                f"space {self.space!r}: the function must return a torch.nn.Module, got a "
                f"{type(child).__name__}"
            )
        return child

    def draw(
        self, drawing: Callable[[], Drawing], other_than: Choices | None = None
    ) -> tuple[Drawing, nn.Module]:
        """Draws until an architecture is accepted.

        Args:
            drawing: Begins a draw.
            other_than: An architecture that is refused, too.

        Returns:
            The draw, and the child of its architecture on the meta device.

        Raises:
            InvalidValueError: `MOST_REJECTED` draws in a row were refused.
        """
        for _ in range(MOST_REJECTED):
            chooser = drawing()
            try:
                child = self.call(chooser)
            except Rejected:
                continue
            if chooser.architecture != other_than:
                return chooser, child
        raise InvalidValueError(
            f"space {self.space!r}: choose.require refused {MOST_REJECTED:,} architectures in a "
            "row: let the choices themselves leave out what is not wanted"
        )
