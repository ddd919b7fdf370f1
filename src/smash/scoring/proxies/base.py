"""The base of zero-cost proxies: scores of a child network that need no labels.

The sequence of calls: a child is built, initialised and passed to the proxy with a batch of images;
the proxy returns one value or several, which `smash.scoring.priors` joins by their ranks. A proxy
of a trained SMASH network is passed a child with generated weights instead. All values are higher
for better children, and non-finite ones rank last.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A child network to measure.

    Attributes:
        child: The network on a real device, with initial or generated weights. The proxy owns it
            and may change its BatchNorm statistics.
        stages: Modules whose outputs are its features, from `SearchSpace.stages`.
        macs: Multiply-accumulates for one input.
    """

    child: nn.Module
    stages: Sequence[nn.Module]
    macs: int


class Proxy(ABC):
    """A score of a child network that takes a few images and no training of the child.

    Example:
        >>> class ParameterCount(Proxy):
        ...     name, examples = "parameter-count", 1
        ...
        ...     def __call__(self, subject, images, generator):
        ...         return (float(sum(each.numel() for each in subject.child.parameters())),)
        >>> subject = Subject(child=nn.Linear(3, 2), stages=[], macs=6)
        >>> ParameterCount()(subject, torch.empty(1, 3), torch.Generator())
        (8.0,)
    """

    name: str
    examples: int
    """The number of images in a batch."""
    trained = False
    """Whether it measures generated weights of a trained SMASH network, not initial ones."""

    @abstractmethod
    def __call__(
        self, subject: Subject, images: Tensor, generator: torch.Generator
    ) -> tuple[float, ...]:
        """Measures a child network.

        Args:
            subject: The child network.
            images: N×channels×spatial, normalised, on the child's device.
            generator: Random generator, on the CPU.

        Returns:
            One value or several, the same number for all children.
        """


class FunctionInterceptor(TorchFunctionMode, ABC):
    """Intercepts calls of torch functions: non-linearities may be functions, not modules."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self.intercept(func, args, kwargs or {})

    @abstractmethod
    def intercept(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns the result of a call in the function's place."""
