"""What a proxy is: a score of a child network that needs no example's class.

It goes like this: a child is built, initialised and given to the proxy with a batch of images; the
proxy gives one number, or several that are joined over a set of architectures by `join`. A proxy of
a trained SMASH network is given a child with generated weights instead. All numbers are higher for
better children. What is not finite ranks last.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from smash.scoring.rank_aggregation import Floats, log_ranks


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A child to look at.

    Attributes:
        child: The network, on a real device, its parameters drawn or generated. It is the proxy's
            own: its BatchNorm statistics may change.
        stages: Parts of it whose outputs are its features, from `SearchSpace.stages`.
        macs: Its multiply-accumulates for one input.
    """

    child: nn.Module
    stages: Sequence[nn.Module]
    macs: int


class Proxy(ABC):
    """A score that takes a child and a few images, and no training of that child."""

    name: str
    examples: int
    """How many images it looks at."""
    trained = False
    """Whether it looks at weights that a trained SMASH network generates, not at initial ones."""

    @abstractmethod
    def __call__(
        self, subject: Subject, images: Tensor, generator: torch.Generator
    ) -> tuple[float, ...]:
        """Measures a child.

        Args:
            subject: The child.
            images: N×channels×spatial, normalised, on the child's device.
            generator: Source of randomness, on the CPU.

        Returns:
            One number or several, always as many.
        """

    def join(self, parts: Sequence[Floats]) -> Floats:
        """One score for each of n architectures, from all their numbers.

        Args:
            parts: For each number that the proxy gives, those of all architectures, ``(n,)``.
        """
        return parts[0] if len(parts) == 1 else log_ranks(parts)


class Overheard(TorchFunctionMode, ABC):
    """Hears each call of a torch function while it is entered, and may answer in its place.

    So a proxy finds non-linearities that are functions, not modules.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self.answer(func, args, kwargs or {})

    @abstractmethod
    def answer(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Gives the result of the call."""
