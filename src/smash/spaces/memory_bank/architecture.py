"""An architecture of memory banks: frozen, read from JSON, checked against the options.

A network has three blocks. A block is a set of memory banks, each of `bank_size · N` channels.
Ops run in order: an op reads banks, applies a 1×1 convolution and a grid of convolutions, and
adds its output to the banks it writes. (Brock et al. 2017, section 3.1.)

A gate takes the place of the sum where the two paths of a grid meet: after the first convolutions,
or after the second. It is tanh(p) · sigmoid(q) of what the convolutions give, whatever their own
non-linearities and whether these come before or after:

- ``multiply``: p is path A and q path B.
- ``split``: of the sum of the paths, p is the even channels and q the odd ones. What comes out is
  half as wide, and so is all that follows in the op: after the first convolutions, the second ones
  read and compute G/2 · N channels; in either case the op writes G/2 · N. So b must divide G/2.

After a gate at the first junction there is one path, which both second convolutions read.

Legend: N is `bank_width`, N_max is `max_width`, k = N_max / N, G is `Op.outputs`,
b is `Block.bank_size`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from smash.errors import InvalidValueError
from smash.spaces.memory_bank.options import MemoryBankOptions

POSITIONS = ("a1", "a2", "b1", "b2")  # path A, first and second convolution; path B
JUNCTIONS: Mapping[str, tuple[int, int]] = {"first": (0, 2), "second": (1, 3)}  # positions it joins
STYLES = ("multiply", "split")


@dataclass(frozen=True)
class Convolution:
    """One convolution of an op's grid: a number an axis for `kernel` and `dilation`."""

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
    """Reads banks, computes `outputs · N` channels, writes them, or what a gate lets through.

    Attributes:
        reads: Banks whose channels are concatenated, ascending.
        writes: Banks that the output is added to, ascending; the first write opens a bank.
        outputs: G, in units of N channels; a multiple of the bank size.
        grid: The convolutions at `POSITIONS`; None where there is none.
        gate: How the paths join where they don't simply add.
    """

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    outputs: int
    grid: tuple[Convolution | None, ...]
    gate: Gate | None = None

    @property
    def written(self) -> int:
        """What is written, in units of N channels: G, or G/2 after a gate that splits."""
        splits = self.gate is not None and self.gate.style == "split"
        return self.outputs // 2 if splits else self.outputs

    @property
    def second_outputs(self) -> int:
        """What the second convolutions read and compute, in units of N channels."""
        return self.outputs // 2 if self.gate == Gate("first", "split") else self.outputs


@dataclass(frozen=True)
class Block:
    """Memory banks of `bank_size · N` channels each, and the ops that work on them."""

    bank_size: int
    ops: tuple[Op, ...]

    def filled(self, input_banks: int) -> int:
        """Banks that hold something at the end, `input_banks` of them from the start."""
        return max([input_banks - 1, *(bank for op in self.ops for bank in op.writes)]) + 1


@dataclass(frozen=True)
class MemoryBankArchitecture:
    """Three blocks, at full, half and quarter resolution."""

    blocks: tuple[Block, ...]

    def to_json(self) -> dict[str, Any]:
        """The architecture as plain JSON; an inactive convolution is null, no gate is no key."""
        return asdict(self, dict_factory=_without_none)


def _without_none(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in fields if value is not None}


def read_architecture(
    value: Mapping[str, Any], options: MemoryBankOptions
) -> MemoryBankArchitecture:
    """Reads an architecture from JSON.

    Raises:
        InvalidValueError: The value is not an architecture of the space with these options.
    """
    try:
        architecture = MemoryBankArchitecture(
            tuple(
                Block(
                    _whole(block["bank_size"]),
                    tuple(
                        Op(
                            _wholes(op["reads"]),
                            _wholes(op["writes"]),
                            _whole(op["outputs"]),
                            tuple(_read_convolution(conv) for conv in op["grid"]),
                            _read_gate(op.get("gate")),
                        )
                        for op in block["ops"]
                    ),
                )
                for block in value["blocks"]
            )
        )
        faults = check(architecture, options)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise InvalidValueError(f"not an architecture of memory banks: {error!r}") from None
    if faults:
        raise InvalidValueError(*faults)
    return architecture


def _whole(value: Any) -> int:
    """A whole number and nothing that equals one: true and 1.0 would give another id."""
    if type(value) is not int:
        raise TypeError(f"{value!r} must be a whole number")
    return value


def _wholes(values: Any) -> tuple[int, ...]:
    return tuple(_whole(value) for value in values)


def _read_convolution(value: Mapping[str, Any] | None) -> Convolution | None:
    if value is None:
        return None
    return Convolution(
        _wholes(value["kernel"]),
        _wholes(value["dilation"]),
        _whole(value["groups"]),
        value["nonlinearity"],
    )


def _read_gate(value: Mapping[str, Any] | None) -> Gate | None:
    return None if value is None else Gate(value["junction"], value["style"])


def check(architecture: MemoryBankArchitecture, options: MemoryBankOptions) -> list[str]:
    """Faults of an architecture under these options; an empty list where it is valid."""
    if len(architecture.blocks) != 3:
        return [f"an architecture has 3 blocks, got {len(architecture.blocks)}"]
    faults = []
    for index, block in enumerate(architecture.blocks):
        where = f"block {index}"
        if block.bank_size not in options.bank_sizes(index):
            faults.append(f"{where}: bank size {block.bank_size} does not fit")
            continue
        if not block.ops:
            faults.append(f"{where}: a block has at least one op")
        filled = options.input_banks(index, block.bank_size)
        for number, op in enumerate(block.ops):
            faults += [
                f"{where}, op {number}: {fault}"
                for fault in _check_op(op, block.bank_size, filled, options)
            ]
            filled = max(filled, *(bank + 1 for bank in op.writes), 0)
        limit = options.max_banks(index, block.bank_size)
        if filled > limit:
            faults.append(f"{where}: {filled} banks, at most {limit} fit")
        spent = sum(options.cost(len(op.reads), block.bank_size) for op in block.ops)
        if spent > options.budgets[index].positions:
            faults.append(f"{where}: {spent} positions, at most {options.budgets[index].positions}")
    return faults


def _check_op(op: Op, bank_size: int, filled: int, options: MemoryBankOptions) -> Iterable[str]:
    step, new = options.read_step(bank_size), [bank for bank in op.writes if bank >= filled]
    if not op.reads or len(op.reads) % step or not _ascending(op.reads):
        yield f"reads {op.reads} must be ascending banks, a multiple of {step} of them"
    if any(not 0 <= bank < filled for bank in op.reads):
        yield f"reads {op.reads} where only {filled} banks hold something"
    if op.outputs % bank_size or not bank_size <= op.outputs <= options.max_outputs:
        yield f"outputs {op.outputs} must be a multiple of {bank_size} up to {options.max_outputs}"
    elif not _ascending(op.writes) or len(op.writes) < op.written // bank_size:
        yield f"writes {op.writes} must be ascending banks, at least {op.written // bank_size}"
    if new != list(range(filled, filled + len(new))) or any(bank < 0 for bank in op.writes):
        yield f"writes {op.writes} must open new banks in order from {filled}"
    if tuple(conv is not None for conv in op.grid) not in options.grids:
        yield f"a grid with {sum(c is not None for c in op.grid)} convolutions is not in the space"
    for conv in op.grid:
        if conv is not None:
            yield from _check_convolution(conv, options)
    if op.gate is not None:
        yield from _check_gate(op.gate, op, bank_size, options)


def fitting_gates(op: Op, bank_size: int, options: MemoryBankOptions) -> tuple[Gate, ...]:
    """The gates that an op may have; its own is not looked at."""
    if not options.gates:
        return ()
    return tuple(gate for gate in GATES if not any(_check_gate(gate, op, bank_size, options)))


def _check_gate(gate: Gate, op: Op, bank_size: int, options: MemoryBankOptions) -> Iterable[str]:
    if not options.gates:
        yield "a gate is not in the space: set gates=True"
    if gate.junction not in tuple(JUNCTIONS):
        yield f"a gate's junction {gate.junction!r} must be one of {tuple(JUNCTIONS)}"
    elif any(op.grid[position] is None for position in JUNCTIONS[gate.junction]):
        yield f"a gate at the {gate.junction} junction needs two convolutions there"
    if gate.style not in STYLES:
        yield f"a gate's style {gate.style!r} must be one of {STYLES}"
    elif gate.style == "split" and op.outputs % (2 * bank_size):
        yield f"a gate that splits needs outputs of 2 × a multiple of {bank_size}, got {op.outputs}"


def _check_convolution(conv: Convolution, options: MemoryBankOptions) -> Iterable[str]:
    if len(conv.kernel) != options.dims or not set(conv.kernel) <= set(options.kernels):
        yield f"kernel {conv.kernel} must be {options.dims} of {options.kernels}"
    elif len(conv.dilation) != options.dims or any(
        not 1 <= dilation <= options.max_dilation_of(kernel)
        for kernel, dilation in zip(conv.kernel, conv.dilation, strict=True)
    ):
        yield f"dilation {conv.dilation} does not fit kernel {conv.kernel}"
    if conv.groups not in options.groups:
        yield f"groups {conv.groups} must be one of {options.groups}"
    if conv.nonlinearity not in options.nonlinearities:
        yield f"non-linearity {conv.nonlinearity!r} must be one of {options.nonlinearities}"


def _ascending(banks: tuple[int, ...]) -> bool:
    return all(a < b for a, b in pairwise(banks))
