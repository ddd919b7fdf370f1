"""Costs of a child network: parameters, multiply-accumulates (MACs), RAM and flash, all exact.

Nothing is computed: the child runs on the meta device, and each convolution and matrix product that
it calls is counted by the formulas of `torch.utils.flop_counter`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from smash.profiling.footprint import flash_size, peak_memory
from smash.profiling.operations import record_operations
from smash.runtime.rng import generator
from smash.spaces.base import SearchSpace
from smash.spaces.parameters import count_parameters
from smash.spaces.task import Task


@dataclass(frozen=True)
class Cost:
    """Cost of a child network.

    Attributes:
        params: Number of parameters; buffers are not parameters.
        macs: Multiply-accumulates for one input. Convolutions (transposed ones too), linear layers,
            matrix products and attention count; elementwise operations, biases, pooling and
            normalisation do not.
        memory: Bytes of RAM for the activations of one input, see `smash.profiling.footprint`.
        flash: Bytes of the weights and the graph in int8.
    """

    params: int
    macs: int
    memory: int
    flash: int


def measure_cost(space: SearchSpace[Any], architecture: Any, task: Task) -> Cost:
    """Measures the costs of an architecture's child."""
    return cost_of(space.build(architecture, task), task)


def cost_of(child: nn.Module, task: Task) -> Cost:
    """Measures the costs of a network on the meta device."""
    trace = record_operations(child, task)
    return Cost(
        params=count_parameters(child),
        macs=sum(operation.macs for operation in trace.operations),
        memory=peak_memory(trace),
        flash=flash_size(trace),
    )


def survey(space: SearchSpace[Any], task: Task, samples: int) -> list[tuple[int, Any]]:
    """Samples architectures and their numbers of parameters, which sort them.

    The sample is always the same.

    Args:
        space: The search space.
        task: The task that children are built for.
        samples: Number of architectures.
    """
    rng = generator(0, "survey")
    architectures = [space.sample(rng) for _ in range(samples)]
    pairs = [(count_parameters(space.build(each, task)), each) for each in architectures]
    return sorted(pairs, key=lambda pair: pair[0])
