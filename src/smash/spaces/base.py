"""What a search space is.

A search space says which architectures there are and *builds* the child network of each: a plain
`torch.nn.Module`. The rest of the package never looks inside an architecture. It goes like this:

1. Training draws `sample(rng, progress)`, builds the child on the meta device and runs it with the
   weights that a weight source gives for it.
2. A weight source sizes its shared tensors by `shared_shapes(task)`; each parameter of a child is
   the corner of the shared tensor that `shared_name` names.
3. Search draws `sample` and `mutate`, and stores `to_json` under `identify`.
4. Retraining builds the same child on a real device.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from torch import Tensor, nn

from smash.errors import InvalidValueError
from smash.io.files import parse_json

A = TypeVar("A")

Shape = tuple[int, ...]


MOST_READABLE = 2**20
"""The largest value that a readable feature may have."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a child network is for.

    Attributes:
        channels: Channels of an input.
        size: Spatial extent of an input, one number an axis: ``(32, 32)`` for CIFAR.
        classes: Classes to tell apart.
    """

    channels: int
    size: tuple[int, ...]
    classes: int

    @property
    def dims(self) -> int:
        """Spatial axes of an input: 1, 2 or 3."""
        return len(self.size)


class SearchSpace(ABC, Generic[A]):
    """A set of architectures `A` (frozen and hashable) and the child networks they describe."""

    name: str

    @abstractmethod
    def sample(self, rng: np.random.Generator, progress: float = 1.0) -> A:
        """Draws an architecture.

        Args:
            rng: Source of randomness.
            progress: How much of the training of a SMASH network is done, 0…1; a space may begin
                with small architectures. Searches use 1, the whole space.
        """

    def sample_for_training(self, rng: np.random.Generator, progress: float) -> A:
        """Draws an architecture to train a SMASH network with; by default as `sample` does."""
        return self.sample(rng, progress)

    @abstractmethod
    def mutate(self, architecture: A, rng: np.random.Generator, rate: float = 0.05) -> A:
        """Changes each setting with probability `rate`; always valid and never the same."""

    @abstractmethod
    def build(self, architecture: A, task: Task, device: str = "meta") -> nn.Module:
        """Builds the child network.

        On the meta device it costs a few milliseconds and has shapes only; elsewhere its
        parameters hold arbitrary values until they are initialised or loaded.
        """

    @abstractmethod
    def features(self, architecture: A) -> Tensor:
        """Describes an architecture by numbers, shape ``(F,)``, of a meaning that never changes."""

    @abstractmethod
    def readable(self, architecture: A) -> Mapping[str, float]:
        """A few features by name, such as depth and width, for tables and dashboards.

        Each is from 0 to `MOST_READABLE`.
        """

    @abstractmethod
    def to_json(self, architecture: A) -> dict[str, Any]:
        """The architecture as plain JSON; `from_json` reads it back."""

    @abstractmethod
    def from_json(self, value: Mapping[str, Any]) -> A:
        """Reads what `to_json` wrote.

        Raises:
            InvalidValueError: The value is not an architecture of this space.
        """

    @abstractmethod
    def largest(self) -> A:
        """An architecture whose parameters are as large as any architecture's, tensor by tensor."""

    @abstractmethod
    def smallest(self) -> A:
        """The cheapest architecture of the space, in parameters and in MACs."""

    def structure(self) -> dict[str, Any]:
        """Options of the space that change what an architecture computes.

        Only values that differ from the published ones belong here: they are part of an
        architecture's identity, so the list never changes.
        """
        return {}

    def identify(self, architecture: A) -> str:
        """A short name of the architecture, the same in every process and release."""
        document = {"space": self.name, **self.structure(), **self.to_json(architecture)}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def parse(self, text: str) -> A:
        """Reads the published text form of an architecture; JSON unless the space has its own.

        Raises:
            InvalidValueError: The text is not an architecture of this space.
        """
        try:
            value = parse_json(text)
        except ValueError as error:
            raise InvalidValueError(f"architecture {text[:40]!r} is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise InvalidValueError(f"architecture {text[:40]!r} must be a JSON object")
        return self.from_json(value)

    def proxy(self) -> SearchSpace[A]:
        """The space of the same architectures whose children are smaller and rank alike.

        By default this one. A SMASH network may learn and rank with its children; trained and
        shipped are those of this space.
        """
        return self

    def reference(self) -> tuple[str, int] | None:
        """A well-known network that the budget of the space is taken from, and its parameters."""
        return None

    def stages(self, child: nn.Module) -> Sequence[nn.Module]:
        """Parts of a child one after the other, whose outputs are its features at growing depth.

        By default its direct parts, containers replaced by what they hold. Parts whose output has
        no spatial axes, such as a classifier, may be among them: they are passed over.
        """
        return list(_parts(child))

    def shared_name(self, parameter: str) -> str:
        """Which shared tensor a child's parameter is a part of; by default that of its own name.

        The part is always the same: leading channels, central crop of a kernel (`corner`).
        """
        return parameter

    def shared_shapes(self, task: Task) -> Mapping[str, Shape]:
        """Shapes of the shared tensors; by default the parameters of the largest child."""
        child = self.build(self.largest(), task)
        return {name: tuple(parameter.shape) for name, parameter in child.named_parameters()}


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    for part in module.children():
        if isinstance(part, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            yield from _parts(part)
        else:
            yield part


def corner(whole: Shape, part: Shape) -> tuple[slice, ...]:
    """The place of a parameter in a shared tensor: leading channels, central crop of a kernel.

    Args:
        whole: Shape of the shared tensor: out channels, in channels, kernel extents.
        part: Shape of the parameter.

    Raises:
        ValueError: The parameter is larger than the shared tensor.
    """
    if len(whole) != len(part) or any(p > w for p, w in zip(part, whole, strict=True)):
        raise ValueError(f"a parameter of shape {part} does not fit a shared tensor of {whole}")
    starts = [0 if axis < 2 else (whole[axis] - part[axis]) // 2 for axis in range(len(whole))]
    return tuple(slice(start, start + extent) for start, extent in zip(starts, part, strict=True))
