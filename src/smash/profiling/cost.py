"""Exact counts of the parameters and multiply-accumulates (MACs) of a child network.

Nothing is computed: the child runs on the meta device, and each convolution and matrix product that
it calls is counted by the formulas of `torch.utils.flop_counter`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

from smash.runtime.rng import generator
from smash.spaces.base import SearchSpace
from smash.spaces.parameters import count_parameters
from smash.spaces.task import Task


@dataclass(frozen=True)
class Cost:
    """Cost of a child network.

    Attributes:
        params: Number of parameters; buffers are not parameters.
        macs: Multiply-accumulates of all convolutions and matrix products for one input.
    """

    params: int
    macs: int


def measure_cost(space: SearchSpace[Any], architecture: Any, task: Task) -> Cost:
    """Counts the parameters and MACs of an architecture's child."""
    child = space.build(architecture, task)
    return Cost(params=count_parameters(child), macs=count_macs(child, task))


def survey(space: SearchSpace[Any], task: Task, samples: int = 200) -> list[tuple[Cost, Any]]:
    """Samples architectures and their costs, sorted by parameters; the sample is always the same.

    Args:
        space: The search space.
        task: The task that children are built for.
        samples: Number of architectures.
    """
    rng = generator(0, "survey")
    architectures = [space.sample(rng) for _ in range(samples)]
    pairs = [(measure_cost(space, each, task), each) for each in architectures]
    return sorted(pairs, key=lambda pair: (pair[0].params, pair[0].macs))


def count_macs(child: nn.Module, task: Task) -> int:
    """Counts the multiply-accumulates of a network for one input.

    Convolutions (transposed ones too), linear layers, matrix products and attention count;
    elementwise operations, biases, pooling and normalisation do not.

    Args:
        child: A module on the meta device.
        task: Gives the shape of the input.
    """
    counter = _MacCounter()
    training = child.training
    try:
        with torch.no_grad(), _SkipElementwise(), counter:
            child.eval()(torch.empty(1, task.channels, *task.size, device="meta"))
    finally:
        child.train(training)
    return counter.macs


class _MacCounter(TorchDispatchMode):
    """Counts the multiply-accumulates of the operators that are called within it.

    `torch.utils.flop_counter.FlopCounterMode` gives the same numbers, but takes ten times as long
    because it also decomposes operators and keeps counts by module.
    """

    _convolution = torch.ops.aten.convolution.default

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func is self._convolution:  # directly: the registry's wrapper costs as much as the call
            images, weight, transposed = args[0], args[1], args[6]
            flops = conv_flop_count(images.shape, weight.shape, output.shape, transposed)
        else:
            formula = flop_registry.get(func._overloadpacket)
            flops = formula(*args, **kwargs, out_val=output) if formula else 0
        self.macs += flops // 2  # a multiply-accumulate is two floating-point operations
        return output


class _SkipElementwise(TorchFunctionMode):
    """Skips functions whose output shape is evident: on the meta device they take most time."""

    _unary = frozenset({F.batch_norm, F.relu, torch.tanh, torch.sigmoid})
    _add = frozenset({Tensor.add, Tensor.__add__, torch.add})

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self._unary:
            return args[0]
        if func in self._add and getattr(args[1], "shape", None) == args[0].shape:
            return args[0]
        if func is torch.cat and kwargs.keys() <= {"tensors", "dim"}:
            return _empty_cat(*args, **kwargs)
        return func(*args, **kwargs)


def _empty_cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Returns an uninitialised tensor of the shape that `torch.cat` gives."""
    shape = list(tensors[0].shape)
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return tensors[0].new_empty(shape)
