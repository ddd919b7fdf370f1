"""The grid-shaped description of a memory-bank architecture that the hypernetwork reads.

The encoding has C channels over a grid of k rows ("which N output channels") by S positions
("which group of N · depth_compression input channels, along the depth of the network"). An op
lies at as many positions as it reads; a channel is +1 where its statement holds and −1 elsewhere.
The layout of the channels is fixed for the life of a space.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smash.hypernet.source import Encoding
from smash.spaces.memory_bank.architecture import (
    GATES,
    Block,
    Convolution,
    MemoryBankArchitecture,
    Op,
)
from smash.spaces.memory_bank.options import MemoryBankOptions


@dataclass(frozen=True)
class OpPlace:
    """Place of an op in the grid.

    Attributes:
        parameter: Name of the op's 1×1 convolution weight in the child.
        start: First position of the op.
        stop: First position after it.
    """

    parameter: str
    start: int
    stop: int


class GridEncoding(Encoding[MemoryBankArchitecture]):
    """Encodes architectures of one memory-bank space.

    Args:
        options: Options of the space.
    """

    def __init__(self, options: MemoryBankOptions) -> None:
        self._options = options
        self.rows = options.max_outputs
        self.max_positions = sum(budget.positions for budget in options.budgets)
        self._max_banks = max(
            options.max_banks(index, bank_size)
            for index in range(3)
            for bank_size in options.bank_sizes(index)
        )
        self._columns = {key: column for column, key in enumerate(self._layout())}
        self.channels = len(self._columns)

    def _layout(self) -> Iterator[tuple[object, ...]]:
        """Lists the statement of each channel."""
        options = self._options
        yield from (("reads", bank) for bank in range(self._max_banks))
        yield from (("writes", bank) for bank in range(self._max_banks))
        yield from (("block", index) for index in range(3))
        yield from (("outputs", size) for size in range(1, options.max_outputs + 1))
        for position in range(4):
            yield ("active", position)
            for axis in range(options.dims):
                yield from (("kernel", position, axis, extent) for extent in options.kernels)
                dilations = range(1, options.max_dilation + 1)
                yield from (("dilation", position, axis, extent) for extent in dilations)
            yield from (("groups", position, groups) for groups in options.groups)
            yield from (("nonlinearity", position, name) for name in options.nonlinearities)
        if options.gates:
            yield from (("gate", gate) for gate in GATES)

    def places(self, architecture: MemoryBankArchitecture) -> list[OpPlace]:
        """Locates the ops in the grid, in order of depth."""
        places, start = [], 0
        for index, block in enumerate(architecture.blocks):
            for number, op in enumerate(block.ops):
                stop = start + self._options.cost(len(op.reads), block.bank_size)
                name = f"blocks.{index}.ops.{number}.project.weight"
                places.append(OpPlace(name, start, stop))
                start = stop
        return places

    def encode(self, architecture: MemoryBankArchitecture) -> Tensor:
        """Encodes an architecture, (C, k, S), where S is the number of positions that it uses."""
        costs: list[int] = []
        outputs: list[int] = []
        true: tuple[list[int], list[int]] = [], []  # channels that hold all over an op; that op
        read: tuple[list[int], list[int]] = [], []  # channels that hold at one position; that one
        start = 0
        for index, block in enumerate(architecture.blocks):
            for op in block.ops:
                columns = self._true(index, op)
                true[0].extend(columns)
                true[1].extend([len(costs)] * len(columns))
                positions, banks = self._read_positions(op, block)
                read[0].extend(self._columns["reads", bank] for bank in banks)
                read[1].extend(start + position for position in positions)
                costs.append(self._options.cost(len(op.reads), block.bank_size))
                outputs.append(op.outputs)
                start += costs[-1]
        holds_CO = np.zeros((self.channels, len(costs)), bool)
        holds_CO[true] = True
        op_S = np.repeat(np.arange(len(costs)), costs)
        holds_CS = holds_CO[:, op_S]
        holds_CS[read] = True
        # Only the first G rows of an op are marked: the others are columns that it does not use.
        marked_kS = np.arange(self.rows)[:, None] < np.asarray(outputs)[op_S]
        return torch.minimum(_signs(holds_CS)[:, None], _signs(marked_kS))

    def difference(self, base: MemoryBankArchitecture, other: MemoryBankArchitecture) -> Tensor:
        """Computes the change of the encoding of `base` that leads to `other`, (C, k, S) of `base`.

        Ops are compared one by one, since an op that reads more banks moves all ops after it. The
        change is 0 at positions of an op of `base` that the same op of `other` does not have.
        """
        code_CkS = self.encode(base)
        other_CkS, places = self.encode(other), {p.parameter: p for p in self.places(other)}
        difference_CkS = torch.zeros_like(code_CkS)
        for place in self.places(base):
            if (there := places.get(place.parameter)) is None:
                continue
            extent = min(place.stop - place.start, there.stop - there.start)
            here = slice(place.start, place.start + extent)
            difference_CkS[..., here] = (
                other_CkS[..., there.start : there.start + extent] - code_CkS[..., here]
            )
        return difference_CkS

    def _true(self, block: int, op: Op) -> list[int]:
        """Lists the channels that hold at all positions of an op."""
        keys: list[tuple[object, ...]] = [("block", block), ("outputs", op.outputs)]
        keys += [("writes", bank) for bank in op.writes]
        for position, conv in enumerate(op.grid):
            if conv is not None:
                keys += _statements(position, conv)
        if op.gate is not None:
            keys.append(("gate", op.gate))
        return [self._columns[key] for key in keys]

    def _read_positions(self, op: Op, block: Block) -> tuple[list[int], list[int]]:
        """Gives the position and the bank of each read, where an op begins at position 0."""
        compression, positions, banks = self._options.depth_compression, [], []
        for number, bank in enumerate(op.reads):
            first = number * block.bank_size
            last = first + block.bank_size - 1
            for position in range(first // compression, last // compression + 1):
                positions.append(position)
                banks.append(bank)
        return positions, banks


def _signs(holds: NDArray[np.bool_]) -> Tensor:
    """Maps true to +1 and false to −1."""
    return torch.from_numpy(holds).float().mul_(2).sub_(1)


def _statements(position: int, conv: Convolution) -> Iterator[tuple[object, ...]]:
    yield ("active", position)
    for axis, (kernel, dilation) in enumerate(zip(conv.kernel, conv.dilation, strict=True)):
        yield ("kernel", position, axis, kernel)
        yield ("dilation", position, axis, dilation)
    yield ("groups", position, conv.groups)
    yield ("nonlinearity", position, conv.nonlinearity)
