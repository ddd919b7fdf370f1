"""The base of search spaces.

A search space says which architectures exist and builds the child network of each: a plain
`torch.nn.Module`. The rest of the package never looks inside an architecture. The calls, in order:

1. Training draws `sample_for_training(rng, progress)`, builds the child on the meta device and runs
   it with the weights that a `WeightSource` generates for the architecture.
2. The weight source sizes its shared tensors by `shared_shapes(task)`; each parameter of a child is
   the corner of the shared tensor that `shared_name` names.
3. Search draws `sample` and `mutate`, and stores `to_json` under `identify`.
4. Retraining builds the same child on a real device.
5. Export writes the source files of `definition(architecture, task)`, and the call that builds the
   child from them.

`network` builds a child from torch's own layers, without regard to devices or initial values.
`build` calls it so that parameters are allocated on a device, without values on the meta device.

For export as one Python file, `definition` names the modules whose source files define the child.
Each of them imports only torch, the standard library and modules named before it, so that their
concatenation runs without this package. The architecture is part of the arguments of the call:
plain values, or dataclasses of these modules, whose `repr` is the code that makes them.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from smash.errors import InvalidValueError
from smash.io.files import parse_json
from smash.spaces.parameters import without_values
from smash.spaces.task import Task

A = TypeVar("A")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Definition:
    """The source code of a child network.

    Attributes:
        modules: Names of the modules that define it, each after those that it imports.
        network: Class or function that builds it, of the last of these modules.
        arguments: Keyword arguments of `network`; the `repr` of each value is code that makes it.
    """

    modules: tuple[str, ...]
    network: Callable[..., nn.Module]
    arguments: Mapping[str, Any]

    def build(self) -> nn.Module:
        """Builds the network."""
        return self.network(**self.arguments)


class SearchSpace(ABC, Generic[A]):
    """A set of architectures `A` (frozen and hashable) and the child networks they describe.

    Example:
        >>> from smash import MemoryBankSpace, Task
        >>> space: SearchSpace = MemoryBankSpace()
        >>> architecture = space.sample(np.random.default_rng(0))
        >>> space.identify(architecture)
        '...'
        >>> child = space.build(architecture, Task(channels=3, size=(32, 32), classes=10))
        >>> child(torch.empty(5, 3, 32, 32, device="meta")).shape
        torch.Size([5, 10])
    """

    name: str

    @abstractmethod
    def sample(self, rng: np.random.Generator, progress: float = 1.0) -> A:
        """Samples an architecture.

        Args:
            rng: Source of randomness.
            progress: Part of the training of a SMASH network that is done, 0…1; a space may begin
                with small architectures. Searches use 1, the whole space.
        """

    def sample_for_training(self, rng: np.random.Generator, progress: float) -> A:
        """Samples an architecture to train a SMASH network with; by default like `sample`."""
        return self.sample(rng, progress)

    @abstractmethod
    def mutate(self, architecture: A, rng: np.random.Generator, rate: float = 0.05) -> A:
        """Changes each setting with probability `rate`; gives another, valid architecture."""

    @abstractmethod
    def network(self, architecture: A, task: Task) -> nn.Module:
        """Builds the child network from torch's layers; called by `build`."""

    def build(self, architecture: A, task: Task, device: str | torch.device = "meta") -> nn.Module:
        """Builds the child network on a device.

        On the meta device this takes milliseconds, and the child has shapes only. Elsewhere its
        weights hold arbitrary values until they are initialised or loaded.
        """
        with without_values(device):
            return self.network(architecture, task)

    def definition(self, architecture: A, task: Task) -> Definition | None:
        """Gives the source code of the child network, which `smash export` writes as model.py.

        By default None: the file then holds the operations that torch.fx traces.
        """
        return None

    @abstractmethod
    def features(self, architecture: A) -> Tensor:
        """Describes an architecture by numbers, shape (F,), whose meaning never changes."""

    @abstractmethod
    def readable(self, architecture: A) -> Mapping[str, float]:
        """Gives a few features by name, such as depth and width, for tables and dashboards.

        Each is from 0 to `MOST_READABLE`.
        """

    @abstractmethod
    def to_json(self, architecture: A) -> dict[str, Any]:
        """Gives the architecture as plain JSON, which `from_json` reads."""

    @abstractmethod
    def from_json(self, value: Mapping[str, Any]) -> A:
        """Reads an architecture from what `to_json` gave.

        Raises:
            InvalidValueError: The value is not an architecture of this space.
        """

    @abstractmethod
    def largest(self) -> A:
        """Gives an architecture no parameter of which is smaller than any architecture's."""

    @abstractmethod
    def smallest(self) -> A:
        """Gives the cheapest architecture of the space, in parameters and in MACs."""

    def structure(self) -> dict[str, Any]:
        """Gives the options of the space that change what an architecture computes.

        These are part of an architecture's identity, so options at their default are left out:
        an option that is added later must not change existing ids.
        """
        return {}

    def identify(self, architecture: A) -> str:
        """Computes the id of an architecture: 12 hexadecimal digits, the same in every process."""
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

    def bind(self, task: Task) -> SearchSpace[A]:
        """Gives the space for a task, on which architectures may depend; by default this one."""
        return self

    def proxy(self) -> SearchSpace[A]:
        """Gives the space of the same architectures with smaller children that rank alike.

        By default this space. A SMASH network may learn and rank with the children of the proxy;
        the children of this space are trained and shipped.
        """
        return self

    def reference(self) -> tuple[str, int] | None:
        """Gives the network that the budget of the space is taken from, and its parameters."""
        return None

    def stages(self, child: nn.Module) -> Sequence[nn.Module]:
        """Gives parts of a child in sequence, whose outputs are features of increasing depth.

        By default its direct parts, with containers replaced by their contents. Parts whose output
        has no spatial axes, such as a classifier, are ignored.
        """
        return list(_parts(child))

    def shared_name(self, parameter: str) -> str:
        """Names the shared tensor that a child's parameter is a corner of; by default its own name.

        A corner has the leading channels and the central crop of a kernel (`corner`).
        """
        return parameter

    def shared_shapes(self, task: Task) -> Mapping[str, Shape]:
        """Gives the shapes of the shared tensors; by default those of the largest child."""
        child = self.build(self.largest(), task)
        return {name: tuple(parameter.shape) for name, parameter in child.named_parameters()}


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    for part in module.children():
        if isinstance(part, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            yield from _parts(part)
        else:
            yield part


@lru_cache(maxsize=4096)
def corner(whole: Shape, part: Shape) -> tuple[slice, ...]:
    """Locates a parameter in a shared tensor: leading channels, central crop of a kernel.

    Args:
        whole: Shape of the shared tensor: output channels, input channels, kernel extents.
        part: Shape of the parameter.

    Raises:
        ValueError: The parameter is larger than the shared tensor.
    """
    if len(whole) != len(part) or any(p > w for p, w in zip(part, whole, strict=True)):
        raise ValueError(f"a parameter of shape {part} does not fit a shared tensor of {whole}")
    starts = [0 if axis < 2 else (whole[axis] - part[axis]) // 2 for axis in range(len(whole))]
    return tuple(slice(start, start + extent) for start, extent in zip(starts, part, strict=True))
