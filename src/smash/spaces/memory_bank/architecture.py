"""An architecture of memory banks, as plain data.

A network has three blocks. A block is a set of memory banks, each of `bank_size · N` channels.
Ops run in order: an op reads banks, applies a 1×1 convolution and a grid of convolutions, and
adds its output to the banks that it writes. (Brock et al. 2017, section 3.1.)

A gate replaces the sum where the two paths of a grid meet: after the first convolutions, or after
the second. It is tanh(p) · sigmoid(q) of the outputs of the convolutions, whatever their
non-linearities and whether those come before or after:

- ``multiply``: p is path A and q path B.
- ``split``: of the sum of the paths, p is the even channels and q the odd ones. The result is half
  as wide, and so is all that follows in the op: after the first convolutions, the second ones read
  and compute G/2 · N channels; in either case the op writes G/2 · N. So b must divide G/2.

After a gate at the first junction there is one path, which both second convolutions read.

Legend: N is `bank_width`, N_max is `max_width`, k = N_max / N, G is `Op.outputs`,
b is `Block.bank_size`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

POSITIONS = ("a1", "a2", "b1", "b2")  # path A, first and second convolution; path B
JUNCTIONS: Mapping[str, tuple[int, int]] = {"first": (0, 2), "second": (1, 3)}  # of two positions
STYLES = ("multiply", "split")


@dataclass(frozen=True)
class Convolution:
    """A convolution of an op's grid; `kernel` and `dilation` have one number per axis."""

    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    nonlinearity: str


@dataclass(frozen=True)
class Gate:
    """A gate where the paths of a grid meet: one of `JUNCTIONS`, one of `STYLES`."""

    junction: str
    style: str


GATES = tuple(Gate(junction, style) for junction in JUNCTIONS for style in STYLES)


@dataclass(frozen=True)
class Op:
    """Reads banks, computes `outputs · N` channels, and writes them, or the output of its gate.

    Attributes:
        reads: Banks whose channels are concatenated, ascending.
        writes: Banks that the output is added to, ascending; the first write opens a bank.
        outputs: G, in units of N channels; a multiple of the bank size.
        grid: The convolutions at `POSITIONS`; None where there is none.
        gate: How the paths join, unless they add.
    """

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    outputs: int
    grid: tuple[Convolution | None, ...]
    gate: Gate | None = None

    @property
    def written(self) -> int:
        """Channels that are written, in units of N: G, or G/2 after a gate that splits."""
        splits = self.gate is not None and self.gate.style == "split"
        return self.outputs // 2 if splits else self.outputs

    @property
    def second_outputs(self) -> int:
        """Channels that the second convolutions read and compute, in units of N."""
        return self.outputs // 2 if self.gate == Gate("first", "split") else self.outputs


@dataclass(frozen=True)
class Block:
    """Memory banks of `bank_size · N` channels each, and the ops that work on them."""

    bank_size: int
    ops: tuple[Op, ...]

    def filled(self, input_banks: int) -> int:
        """Counts the banks that are filled at the end, `input_banks` of them from the start."""
        return max([input_banks - 1, *(bank for op in self.ops for bank in op.writes)]) + 1


@dataclass(frozen=True)
class MemoryBankArchitecture:
    """Three blocks, at full, half and quarter resolution."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Sizes that all networks of a space have in common.

    Attributes:
        inputs: Channels of each block's input; the first are those of the stem.
        bank_width: N, the base width of a bank in channels.
        bottleneck: Largest ratio of the width of a 1×1 convolution to that of its op's output.
        max_project: Channels of the widest 1×1 convolution.
        normalised: BatchNorm and ReLU before the 1×1 convolution of an op and BatchNorm after it.
        op_norm: BatchNorm before each grid convolution, instead of that after the 1×1.
        preactivation: A grid convolution is preceded by its non-linearity, not followed.
        stem_stride: Stride of the stem; if None, the one that fits the extent of the input.
    """

    inputs: tuple[int, ...]
    bank_width: int
    bottleneck: int
    max_project: int
    normalised: bool
    op_norm: bool
    preactivation: bool
    stem_stride: int | None

    def input_banks(self, block: int, bank_size: int) -> int:
        """Counts the banks that the input of a block fills."""
        return self.inputs[block] // (bank_size * self.bank_width)

    def project_width(self, read: int, outputs: int) -> int:
        """Computes the channels of the 1×1 convolution of an op.

        Args:
            read: Channels that the op reads.
            outputs: Channels that it computes.
        """
        times = min(max(read // outputs, 1), self.bottleneck)
        return min(times * outputs, read, self.max_project)
