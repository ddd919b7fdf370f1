"""The SMASH network: gives weights and BatchNorm statistics for any architecture of a space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from smash.errors import InvalidValueError, unknown
from smash.hypernet.convolutional import ConvolutionalWeights
from smash.hypernet.dilated_conv import quicken
from smash.hypernet.low_rank import LowRankWeights
from smash.hypernet.shared import SharedWeights
from smash.spaces.base import SearchSpace
from smash.spaces.memory_bank import MemoryBankSpace
from smash.spaces.task import Task

State = dict[str, Tensor]


class WeightSource(Protocol):
    """Gives the parameters of a child; never changes the child."""

    def __call__(self, architecture: Any, child: nn.Module) -> State:
        """Gives `{name: tensor}` for all parameters of `child`."""
        ...


class PlainSharing(nn.Module):
    """Shared weights alone, without a hypernetwork: the baseline."""

    def __init__(self, space: SearchSpace[Any], task: Task, generator: torch.Generator) -> None:
        super().__init__()
        self.shared = SharedWeights(space.shared_shapes(task), space.shared_name, generator)

    def forward(self, architecture: Any, child: nn.Module) -> State:
        """Gives `{name: tensor}` for all parameters of `child`."""
        weights: State = self.shared(child)
        return weights


def _convolutional(space: SearchSpace[Any], task: Task, generator: torch.Generator) -> nn.Module:
    if not isinstance(space, MemoryBankSpace):
        raise InvalidValueError(
            f"hypernet 'convolutional' reads memory banks, not the space {space.name!r}: "
            "choose hypernet 'lowrank' or 'none'"
        )
    return ConvolutionalWeights(space, task, generator)


HYPERNETS: dict[str, Callable[[SearchSpace[Any], Task, torch.Generator], nn.Module]] = {
    "convolutional": _convolutional,
    "lowrank": LowRankWeights,
    "none": PlainSharing,
}


class SmashNetwork(nn.Module):
    """One network for all architectures of a space.

    The child is a plain module, built on the meta device for one use, and gets the tensors that the
    weight source gives. So what is scored is what is trained and shipped.

    Args:
        space: The search space.
        task: What children are for.
        hypernet: Name of the weight source.
        seed: Seed of the initial values.

    Raises:
        InvalidValueError: The hypernet is not known or does not fit the space.
    """

    def __init__(
        self, space: SearchSpace[Any], task: Task, hypernet: str = "convolutional", seed: int = 0
    ) -> None:
        super().__init__()
        if hypernet not in HYPERNETS:
            raise InvalidValueError(unknown("hypernet", hypernet, HYPERNETS))
        self.space = space
        self.task = task
        self.source = HYPERNETS[hypernet](space, task, torch.Generator().manual_seed(seed))

    def forward(self, architecture: Any, images: Tensor) -> Tensor:
        """Computes logits, N×classes, with the batch's own BatchNorm statistics; keeps none.

        Args:
            architecture: An architecture of the space.
            images: N×channels×spatial, normalised.
        """
        child = self.batch_child(architecture)
        with torch.autocast(images.device.type, enabled=False):  # a child casts what it reads
            weights = self.source(architecture, child)
        logits: Tensor = _filled(child, weights)(images)
        return logits

    def batch_child(self, architecture: Any) -> nn.Module:
        """Builds a child to learn by: BatchNorms take the batch's own statistics and keep none."""
        child = self.space.build(architecture, self.task)
        for module in child.modules():
            if isinstance(module, _BatchNorm):
                module.track_running_stats = False
                # Not by setattr, which for buffers takes half as long as building the child.
                module._buffers.update(dict.fromkeys(module._buffers))
            else:
                quicken(module)
        return child

    def check_slope(self) -> None:
        """Makes sure that there is an encoding to take a gradient with respect to.

        Raises:
            InvalidValueError: The weight source reads none.
        """
        if not hasattr(self.source, "difference"):
            raise InvalidValueError(
                "the gradient with respect to the encoding needs a hypernetwork, and this network "
                "has none: train with --hypernet convolutional or lowrank"
            )

    def slope(self, architecture: Any, images: Tensor, labels: Tensor) -> Callable[[Any], float]:
        """The loss's gradient with respect to the encoding of an architecture.

        Args:
            architecture: An architecture of the space.
            images: N×channels×spatial, normalised.
            labels: Their classes, (N,).

        Returns:
            What a change to another architecture would do to the loss, to first order.

        Raises:
            InvalidValueError: The weight source reads no encoding.
        """
        self.check_slope()
        source: Any = self.source
        child = self.batch_child(architecture)
        code = source.encode(architecture).requires_grad_()
        logits = functional_call(child, source(architecture, child, code), (images,))
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels), code)

        def change(other: Any) -> float:
            return float((gradient * source.difference(architecture, other)).sum())

        return change

    @torch.no_grad()
    def state(self, architecture: Any, images: Tensor) -> State:
        """Gives a child's whole state, which loads with `load_state_dict`.

        Args:
            architecture: An architecture of the space.
            images: The fixed sample of training examples, N×channels×spatial, normalised, on which
                BatchNorm statistics are taken; without other images' influence.

        Returns:
            Parameters and buffers by name.
        """
        # Nothing but a BatchNorm learns from this batch: dropout would make states differ.
        child = self.space.build(architecture, self.task).eval()
        parameters = self.source(architecture, child)
        buffers = {
            name: torch.zeros(buffer.shape, dtype=buffer.dtype, device=images.device)
            for name, buffer in child.named_buffers()
        }
        for norm in _norms(child):
            norm.train()
            norm.momentum = None  # a cumulative mean: after one batch, the batch's statistics
        _filled(child, parameters | buffers)(images)
        return {name: tensor.clone() for name, tensor in (parameters | buffers).items()}

    def child(self, architecture: Any, state: State) -> Callable[[Tensor], Tensor]:
        """The child in eval mode with a state that `state` gave: maps images to logits."""
        return _filled(self.space.build(architecture, self.task).eval(), state)


def _filled(child: nn.Module, state: State) -> nn.Module:
    """Puts tensors into a child that was built for them alone; `functional_call` costs more."""
    given: dict[Tensor, Tensor] = {}  # by what they replace: parts may share a parameter
    for prefix, module in child.named_modules():
        for own in (module._parameters, module._buffers):
            for name, old in own.items():
                if old is not None:
                    new = state.get(f"{prefix}.{name}" if prefix else name, old)
                    own[name] = given.setdefault(old, new)
    return child


def _norms(child: nn.Module) -> Iterator[_BatchNorm]:
    return (module for module in child.modules() if isinstance(module, _BatchNorm))
