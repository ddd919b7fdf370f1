"""The memory-bank space of the paper, as a search space."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smash.spaces.base import Definition, SearchSpace, Shape
from smash.spaces.memory_bank import sampling
from smash.spaces.memory_bank.architecture import (
    GATES,
    POSITIONS,
    Block,
    Convolution,
    MemoryBankArchitecture,
    Op,
)
from smash.spaces.memory_bank.network import (
    STEM_KERNEL,
    MemoryBankNetwork,
    MemoryBlock,
    Transition,
)
from smash.spaces.memory_bank.options import MemoryBankOptions, reference_network
from smash.spaces.memory_bank.validation import fitting_gates, read_architecture
from smash.spaces.task import Task

# Options that change what an architecture computes, in its id unless at their default.
_STRUCTURAL = (
    "bank_width",
    "bottleneck",
    "dims",
    "max_bottleneck",
    "max_width",
    "normalisation",
    "op_norm",
    "preactivation",
    "stem_stride",
    "width",
)
_PUBLISHED = MemoryBankOptions()
_SOURCES = (
    "smash.spaces.task",
    "smash.spaces.layers",
    "smash.spaces.memory_bank.architecture",
    "smash.spaces.memory_bank.network",
)


class MemoryBankSpace(SearchSpace[MemoryBankArchitecture]):
    """Networks of memory banks (Brock et al. 2017).

    Args:
        options: Options of the space; by default the published ones.

    Example:
        >>> from smash.spaces.memory_bank import PRESETS
        >>> space = MemoryBankSpace(PRESETS["tiny"])
        >>> architecture = space.sample(np.random.default_rng(0))
        >>> [len(block.ops) for block in architecture.blocks]
        [2, 6, 9]
        >>> space.mutate(architecture, np.random.default_rng(1)) == architecture
        False
    """

    name = "memory-bank"

    def __init__(self, options: MemoryBankOptions = _PUBLISHED) -> None:
        self.options = options

    def sample(self, rng: np.random.Generator, progress: float = 1.0) -> MemoryBankArchitecture:
        """Samples an architecture; budget and kernels grow over the first half of training."""
        return sampling.sample(self.options, rng, progress)

    def mutate(
        self, architecture: MemoryBankArchitecture, rng: np.random.Generator, rate: float = 0.05
    ) -> MemoryBankArchitecture:
        """Redraws each field of each op with probability `rate`, then repairs the ops."""
        return sampling.mutate(self.options, architecture, rng, rate)

    def network(self, architecture: MemoryBankArchitecture, task: Task) -> nn.Module:
        """Builds the child network."""
        return self.definition(architecture, task).build()

    def definition(self, architecture: MemoryBankArchitecture, task: Task) -> Definition:
        """Gives the source code of the child network."""
        arguments = {"architecture": architecture, "layout": self.options.layout, "task": task}
        return Definition(_SOURCES, MemoryBankNetwork, arguments)

    def stages(self, child: nn.Module) -> Sequence[nn.Module]:
        """Gives the stem, the blocks and the transitions between them."""
        inner = MemoryBlock | Transition
        return [child.get_submodule("stem"), *(p for p in child.modules() if isinstance(p, inner))]

    def features(self, architecture: MemoryBankArchitecture) -> Tensor:
        """Describes each block by 12 numbers, or by 16 with gates."""
        return torch.tensor(
            [number for block in architecture.blocks for number in self._block_features(block)]
        )

    def _block_features(self, block: Block) -> list[float]:
        options, ops = self.options, block.ops
        convolutions = [conv for op in ops for conv in op.grid if conv is not None]
        active = [sum(op.grid[i] is not None for op in ops) / len(ops) for i in range(4)]
        gates = GATES if options.gates else ()
        return [
            block.bank_size / options.max_outputs,
            len(ops) / options.depth,
            _mean([len(op.reads) * block.bank_size for op in ops]) / options.max_outputs,
            _mean([op.outputs for op in ops]) / options.max_outputs,
            _mean([len(op.writes) * block.bank_size for op in ops]) / options.max_outputs,
            *active,
            _mean([extent for conv in convolutions for extent in conv.kernel]) / 7,
            _mean([extent for conv in convolutions for extent in conv.dilation]) / 3,
            _mean([conv.groups for conv in convolutions]) / options.max_groups,
            *(sum(op.gate == gate for op in ops) / len(ops) for gate in gates),
        ]

    def readable(self, architecture: MemoryBankArchitecture) -> dict[str, float]:
        """Gives the number of ops, and their mean width in channels, kernel extent and groups."""
        ops = [op for block in architecture.blocks for op in block.ops]
        convolutions = [conv for op in ops for conv in op.grid if conv is not None]
        return {
            "depth": float(len(ops)),
            "width": _mean([op.written * self.options.bank_width for op in ops]),
            "kernel": _mean([extent for conv in convolutions for extent in conv.kernel]),
            "groups": _mean([conv.groups for conv in convolutions]),
        }

    def to_json(self, architecture: MemoryBankArchitecture) -> dict[str, Any]:
        """Gives plain JSON, where an inactive convolution is null and no gate is no key."""
        return asdict(architecture, dict_factory=_without_none)

    def from_json(self, value: Mapping[str, Any]) -> MemoryBankArchitecture:
        """Reads what `to_json` gave, and checks it against the options."""
        return read_architecture(value, self.options)

    def structure(self) -> dict[str, Any]:
        """Gives the structural options that differ from the published ones."""
        values = self.options.model_dump()
        published = _PUBLISHED.model_dump()
        return {name: values[name] for name in _STRUCTURAL if values[name] != published[name]}

    def smallest(self) -> MemoryBankArchitecture:
        """Gives one op per block, the cheapest that reads least and opens no bank.

        The smallest G is not always the cheapest: a wider output makes a narrower bottleneck.
        """
        blocks = []
        for index in range(3):
            ops = (
                (bank_size, op)
                for bank_size in self.options.bank_sizes(index)
                for op in self._cheap_ops(index, bank_size)
            )
            bank_size, op = min(ops, key=lambda found: self._op_weights(*found))
            blocks.append(Block(bank_size, (op,)))
        return MemoryBankArchitecture(tuple(blocks))

    def _cheap_ops(self, block: int, bank_size: int) -> Iterable[Op]:
        """Yields the ops that read least and open no bank, with and without gates."""
        options = self.options
        reads = tuple(range(options.read_step(bank_size)))
        for outputs in range(bank_size, options.max_outputs + 1, bank_size):
            plain = Op(reads, (), outputs, self._grid(cheapest=True))
            for gate in (None, *fitting_gates(plain, bank_size, options)):
                op = replace(plain, gate=gate)
                parts = op.written // bank_size
                if parts <= options.layout.input_banks(block, bank_size):
                    yield replace(op, writes=tuple(range(parts)))

    def _op_weights(self, bank_size: int, op: Op) -> int:
        """Counts the weights of the convolutions of an op."""
        read = len(op.reads) * bank_size * self.options.bank_width
        outputs = op.outputs * self.options.bank_width
        second = op.second_outputs * self.options.bank_width
        width = self.options.layout.project_width(read, outputs)
        channels = (
            width * outputs,
            second * second,
        )  # of the first and the second convolution of a path
        return read * width + sum(
            channels[index % 2] * math.prod(conv.kernel) // conv.groups
            for index, conv in enumerate(op.grid)
            if conv is not None
        )

    def largest(self) -> MemoryBankArchitecture:
        """Gives as many ops per block as the budget allows, each as wide as possible."""
        blocks = []
        for index, budget in enumerate(self.options.budgets):
            bank_size = min(self.options.bank_sizes(index), key=self.options.cheapest)
            limit = self.options.max_banks(index, bank_size)
            filled = self.options.layout.input_banks(index, bank_size)
            outputs = min(self.options.max_outputs, limit * bank_size) // bank_size * bank_size
            banks = tuple(range(self.options.read_step(bank_size)))
            ops = []
            for _ in range(budget.positions // self.options.cheapest(bank_size)):
                first = max(0, min(filled, limit - outputs // bank_size))
                writes = tuple(range(first, first + outputs // bank_size))
                filled = max(filled, writes[-1] + 1)
                ops.append(Op(banks, writes, outputs, self._grid(cheapest=False)))
            blocks.append(Block(bank_size, tuple(ops)))
        return MemoryBankArchitecture(tuple(blocks))

    def _grid(self, *, cheapest: bool) -> tuple[Convolution | None, ...]:
        options = self.options
        extent, groups = (
            (min(options.kernels), max(options.groups))
            if cheapest
            else (max(options.kernels), min(options.groups))
        )
        conv = Convolution(
            (extent,) * options.dims, (1,) * options.dims, groups, options.nonlinearities[0]
        )
        grid = (min if cheapest else max)(options.grids, key=sum)
        return tuple(conv if on else None for on in grid)

    def reference(self) -> tuple[str, int]:
        """Gives the wide ResNet of equal budget (Zagoruyko and Komodakis 2016)."""
        return reference_network(self.options)

    def shared_name(self, parameter: str) -> str:
        """Removes the number of the op: all ops of a block share tensors."""
        return re.sub(r"\.ops\.\d+", "", parameter)

    def shared_shapes(self, task: Task) -> dict[str, Shape]:
        """Gives the shapes of the shared tensors: one set per block, for all of its ops."""
        options, budgets, widest = self.options, self.options.budgets, self.options.max_project
        ones, kernel = (1,) * options.dims, (options.max_kernel,) * options.dims
        stem = (STEM_KERNEL,) * options.dims
        shapes: dict[str, Shape] = {"stem.weight": (budgets[0].inputs, task.channels, *stem)}
        for index, budget in enumerate(budgets):
            block = f"blocks.{index}"
            shapes[f"{block}.project.weight"] = (widest, budget.width, *ones)
            for position in POSITIONS:
                inputs = widest if position.endswith("1") else options.max_width
                shapes[f"{block}.{position}.conv.weight"] = (options.max_width, inputs, *kernel)
                if options.op_norm:
                    shapes |= _norm(f"{block}.{position}.norm", inputs)
            if options.normalisation == "batch":
                shapes |= _norm(f"{block}.norm", budget.width)
                if not options.op_norm:
                    shapes |= _norm(f"{block}.project_norm", widest)
            if index < 2:
                outputs = budgets[index + 1].inputs
                shapes |= _norm(f"transitions.{index}.norm", budget.width)
                shapes[f"transitions.{index}.conv.weight"] = (outputs, budget.width, *ones)
        shapes |= _norm("norm", budgets[2].width)
        shapes["classifier.weight"] = (task.classes, budgets[2].width)
        shapes["classifier.bias"] = (task.classes,)
        return shapes


def _norm(name: str, channels: int) -> dict[str, Shape]:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _without_none(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in fields if value is not None}


def _mean(values: list[int]) -> float:
    return sum(values) / len(values)
