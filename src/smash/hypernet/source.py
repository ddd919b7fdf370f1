"""Base classes of weight sources and of the encodings that they read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from torch import Tensor, nn

from smash.hypernet.shared import SharedWeights
from smash.runtime.device import send

A = TypeVar("A")


class Encoding(ABC, Generic[A]):
    """Describes architectures `A` by a tensor that a hypernetwork reads."""

    @abstractmethod
    def encode(self, architecture: A) -> Tensor:
        """Encodes an architecture, on the CPU."""

    def difference(self, base: A, other: A) -> Tensor:
        """Computes the change of the encoding of `base` that leads to `other`.

        Returns:
            A tensor of the shape of the encoding of `base`.
        """
        return self.encode(other) - self.encode(base)


class WeightSource(nn.Module, ABC, Generic[A]):
    """Gives the parameters of any child network of a search space.

    A SMASH network calls it once per training step, and once per score. The gradient of the loss
    with respect to an architecture is that with respect to `code`.

    Args:
        shared: The tensors that children share; weight decay applies to them.
        encoding: The encoding that the hypernetwork reads; None without a hypernetwork.
        hypernetwork: The network that generates weights from the encoding, or None.

    Example:
        >>> from smash import MemoryBankSpace, SmashNetwork, Task
        >>> network = SmashNetwork(MemoryBankSpace(), Task(channels=3, size=(32, 32), classes=10))
        >>> architecture = network.space.smallest()
        >>> child = network.space.build(architecture, network.task)
        >>> weights = network.source(architecture, child)
        >>> all(weights[name].shape == old.shape for name, old in child.named_parameters())
        True
    """

    shared: SharedWeights
    encoding: Encoding[A] | None
    hypernetwork: nn.Module | None

    def __init__(
        self,
        shared: SharedWeights,
        encoding: Encoding[A] | None = None,
        hypernetwork: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.shared = shared
        self.encoding = encoding
        self.hypernetwork = hypernetwork

    @abstractmethod
    def forward(
        self, architecture: A, child: nn.Module, code: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Gives a tensor for each parameter of a child, by name; does not change the child.

        Args:
            architecture: The architecture that the child is built from.
            child: The child network.
            code: Encoding of the architecture, if a gradient with respect to it is wanted.
        """


def send_like(code: Tensor, weight: Tensor) -> Tensor:
    """Moves an encoding to the device and data type of a weight."""
    return send(code, weight.device).to(weight.dtype)
