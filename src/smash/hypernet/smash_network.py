"""The SMASH network, which gives weights and BatchNorm statistics for any architecture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from smash.errors import InvalidValueError, unknown
from smash.hypernet.convolutional import ConvolutionalWeights
from smash.hypernet.low_rank import LowRankWeights
from smash.hypernet.shared import SharedWeights
from smash.hypernet.source import WeightSource
from smash.spaces.base import SearchSpace
from smash.spaces.memory_bank import MemoryBankSpace
from smash.spaces.task import Task

State = dict[str, Tensor]
"""Parameters and buffers of a child by name."""


class PlainSharing(WeightSource[Any]):
    """Shared weights alone, without a hypernetwork: the baseline."""

    def __init__(self, space: SearchSpace[Any], task: Task, generator: torch.Generator) -> None:
        super().__init__(SharedWeights(space.shared_shapes(task), space.shared_name, generator))

    def forward(
        self, architecture: Any, child: nn.Module, code: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Gives a tensor for each parameter of a child, by name."""
        weights: dict[str, Tensor] = self.shared(child)
        return weights


def _convolutional(
    space: SearchSpace[Any], task: Task, generator: torch.Generator
) -> WeightSource[Any]:
    if not isinstance(space, MemoryBankSpace):
        raise InvalidValueError(
            f"hypernet 'convolutional' is for memory banks, not for the space {space.name!r}: "
            "choose hypernet 'low-rank' or 'none'"
        )
    return ConvolutionalWeights(space, task, generator)


HYPERNETS: dict[str, Callable[[SearchSpace[Any], Task, torch.Generator], WeightSource[Any]]] = {
    "convolutional": _convolutional,
    "low-rank": LowRankWeights,
    "none": PlainSharing,
}
"""Weight sources by name."""


class SmashNetwork(nn.Module):
    """A network that gives weights to all architectures of a space.

    A child is a plain module that is built on the meta device for one use, and computes with the
    tensors of the weight source. So the module that is scored is the one that is trained and
    shipped.

    Args:
        space: The search space.
        task: The task of the children.
        hypernet: Name of the weight source.
        seed: Seed of the initial values.

    Raises:
        InvalidValueError: The hypernet is unknown or does not fit the space.

    Example:
        >>> from smash import NasBench201Space
        >>> task = Task(channels=1, size=(8, 8), classes=3)
        >>> network = SmashNetwork(NasBench201Space(), task, "low-rank")
        >>> architecture, images = network.space.smallest(), torch.zeros(4, 1, 8, 8)
        >>> network(architecture, images).shape
        torch.Size([4, 3])
        >>> state = network.state(architecture, images)
        >>> child = network.space.build(architecture, task, "cpu")
        >>> child.load_state_dict(state)
        <All keys matched successfully>
    """

    def __init__(
        self, space: SearchSpace[Any], task: Task, hypernet: str = "convolutional", seed: int = 0
    ) -> None:
        super().__init__()
        if hypernet not in HYPERNETS:
            raise InvalidValueError(unknown("hypernet", hypernet, HYPERNETS))
        self.space = space
        self.task = task
        generator = torch.Generator().manual_seed(seed)
        self.source: WeightSource[Any] = HYPERNETS[hypernet](space, task, generator)

    def forward(self, architecture: Any, images: Tensor) -> Tensor:
        """Computes logits, N×classes, with the BatchNorm statistics of the batch; keeps none.

        Args:
            architecture: An architecture of the space.
            images: N×channels×spatial, normalised.
        """
        child = self.batch_child(architecture)
        with torch.autocast(images.device.type, enabled=False):  # a child casts what it reads
            weights = self.source(architecture, child)
        logits: Tensor = functional_call(child, weights, (images,))
        return logits

    def batch_child(self, architecture: Any) -> nn.Module:
        """Builds a child for training: BatchNorms use the statistics of the batch and keep none."""
        child = self.space.build(architecture, self.task)
        for module in child.modules():
            if isinstance(module, _BatchNorm):
                module.track_running_stats = False
        return child

    def check_slope(self) -> None:
        """Makes sure that there is an encoding to take a gradient with respect to.

        Raises:
            InvalidValueError: The weight source has none.
        """
        if self.source.encoding is None:
            raise InvalidValueError(
                "the gradient with respect to the encoding needs a hypernetwork, and this network "
                "has none: train with --hypernet convolutional or low-rank"
            )

    def slope(self, architecture: Any, images: Tensor, labels: Tensor) -> Callable[[Any], float]:
        """Computes the gradient of the loss with respect to the encoding of an architecture.

        Args:
            architecture: An architecture of the space.
            images: N×channels×spatial, normalised.
            labels: Their classes, (N,).

        Returns:
            A function that estimates the change of the loss, to first order, that another
            architecture would make.

        Raises:
            InvalidValueError: The weight source has no encoding.
        """
        self.check_slope()
        encoding = self.source.encoding
        assert encoding is not None  # noqa: S101 # checked above
        child = self.batch_child(architecture)
        code = encoding.encode(architecture).to(images).requires_grad_()
        logits = functional_call(child, self.source(architecture, child, code), (images,))
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels), code)

        def change(other: Any) -> float:
            return float((gradient * encoding.difference(architecture, other).to(gradient)).sum())

        return change

    def state(self, architecture: Any, images: Tensor) -> State:
        """Computes the whole state of a child, which loads with `load_state_dict`.

        Args:
            architecture: An architecture of the space.
            images: The sample of training examples, N×channels×spatial, normalised, that
                BatchNorm statistics are computed on.
        """
        return self.generate(architecture, images)[1]

    @torch.no_grad()
    def generate(
        self, architecture: Any, images: Tensor
    ) -> tuple[Callable[[Tensor], Tensor], State]:
        """Generates a child with its state, as `child` and `state` do, building it once.

        Args:
            architecture: An architecture of the space.
            images: The sample of training examples, N×channels×spatial, normalised, that
                BatchNorm statistics are computed on.

        Returns:
            A function from images to logits, and the state.
        """
        # Only BatchNorms are in training mode: with dropout, states would differ.
        child = self.space.build(architecture, self.task).eval()
        state = self.source(architecture, child)
        for name, buffer in child.named_buffers():
            state[name] = torch.zeros(buffer.shape, dtype=buffer.dtype, device=images.device)
        for module in child.modules():
            if isinstance(module, _BatchNorm):
                module.train()
                module.momentum = None  # cumulative mean: the statistics of the one batch
        functional_call(child, state, (images,))
        state = {name: tensor.clone() for name, tensor in state.items()}
        return _with_state(child.eval(), state), state

    def child(self, architecture: Any, state: State) -> Callable[[Tensor], Tensor]:
        """Gives the child in eval mode with a state that `state` gave: maps images to logits."""
        return _with_state(self.space.build(architecture, self.task).eval(), state)


def _with_state(child: nn.Module, state: State) -> Callable[[Tensor], Tensor]:
    return lambda images: functional_call(child, state, (images,))
