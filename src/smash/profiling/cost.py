"""What a child network costs: parameters and multiply-accumulates (MACs), both exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from smash.errors import InvalidValueError
from smash.runtime.rng import generator
from smash.spaces.base import SearchSpace, Task
from smash.spaces.layers import count_parameters

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Cost:
    """Cost of a child network.

    Attributes:
        params: Parameters, counted in values; buffers are not parameters.
        macs: Multiply-accumulates of convolutions and linear layers for one input.
    """

    params: int
    macs: int


@dataclass(frozen=True)
class Budget:
    """The most that a child network may cost; None is no limit.

    Attributes:
        max_params: Parameters; exact.
        max_macs: Multiply-accumulates for one input; exact.
        max_latency: Seconds for one input, as measured on the machine and the device at hand.

    Raises:
        InvalidValueError: A limit is not positive.
    """

    max_params: int | None = None
    max_macs: int | None = None
    max_latency: float | None = None

    def __post_init__(self) -> None:
        limits = {"max_params": self.max_params, "max_macs": self.max_macs}
        faults = [
            f"{name} must be at least 1, got {limit}"
            for name, limit in limits.items()
            if limit is not None and limit < 1
        ]
        if self.max_latency is not None and not 0 < self.max_latency < math.inf:
            faults.append(f"max_latency must be more than 0 seconds, got {self.max_latency}")
        if faults:
            raise InvalidValueError(*faults)

    def allows(self, cost: Cost) -> bool:
        """Whether a child of this cost may be scored."""
        return (self.max_params is None or cost.params <= self.max_params) and (
            self.max_macs is None or cost.macs <= self.max_macs
        )

    def allows_latency(self, seconds: float) -> bool:
        """Whether a child that takes so long for one input may be scored."""
        return self.max_latency is None or seconds <= self.max_latency

    def check_feasible(self, space: SearchSpace[Any], task: Task) -> None:
        """Makes sure that the cheapest architecture of the space is within the limits.

        Raises:
            InvalidValueError: No architecture can be.
        """
        least = measure(space, space.smallest(), task)
        faults = [
            f"{name} {limit:,} cannot be met: the smallest architecture of this space needs "
            f"{needed:,}; raise the limit to that or more"
            for name, limit, needed in (
                ("max_params", self.max_params, least.params),
                ("max_macs", self.max_macs, least.macs),
            )
            if limit is not None and limit < needed
        ]
        if faults:
            raise InvalidValueError(*faults)


class _ShapesOnly(TorchFunctionMode):
    """Passes over functions whose result's shape is plain: on the meta device they cost most."""

    _passed = frozenset({F.batch_norm, F.relu, torch.tanh, torch.sigmoid})
    _added = frozenset({torch.Tensor.add, torch.Tensor.__add__, torch.add})

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in self._passed:
            return args[0]
        if func in self._added and getattr(args[1], "shape", None) == args[0].shape:
            return args[0]
        if func is torch.cat and set(kwargs or ()) <= {"tensors", "dim"}:
            return _joined(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _joined(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """What `torch.cat` gives, but for its values."""
    shape = list(tensors[0].shape)
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return tensors[0].new_empty(shape)


def measure(space: SearchSpace[Any], architecture: Any, task: Task) -> Cost:
    """Counts parameters and MACs of an architecture's child, without computing anything."""
    child = space.build(architecture, task)
    return Cost(params=count_parameters(child), macs=count_macs(child, task))


def survey(space: SearchSpace[Any], task: Task, samples: int = 200) -> list[Cost]:
    """Costs of random architectures, those with the fewest parameters first; always the same."""
    return [cost for cost, _ in draw_by_size(space, task, samples)]


def draw_by_size(space: SearchSpace[Any], task: Task, samples: int) -> list[tuple[Cost, Any]]:
    """Random architectures and their costs, the fewest parameters first; always the same."""
    rng = generator(0, "survey")
    drawn = [space.sample(rng) for _ in range(samples)]
    pairs = [(measure(space, one, task), one) for one in drawn]
    return sorted(pairs, key=lambda pair: (pair[0].params, pair[0].macs))


def count_macs(child: nn.Module, task: Task) -> int:
    """Counts the multiply-accumulates of all convolutions and linear layers for one input.

    Transposed convolutions are among them. Products of other modules, such as attention's, are not.

    Args:
        child: A module on the meta device.
        task: Gives the input's shape.
    """
    macs: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight: Tensor = module.weight  # type: ignore[assignment]
        # Every output value is a sum over one filter's weights; of a transposed convolution every
        # input value goes into as many sums.
        values = inputs[0] if isinstance(module, _TRANSPOSED) else output
        macs.append(values.numel() * math.prod(weight.shape[1:]))

    handles = [
        module.register_forward_hook(count)
        for module in child.modules()
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, *_TRANSPOSED))
    ]
    training = child.training
    try:
        with torch.no_grad(), _ShapesOnly():
            child.eval()(torch.empty(1, task.channels, *task.size, device="meta"))
    finally:
        child.train(training)
        for handle in handles:
            handle.remove()
    return sum(macs)
