"""Validation of memory-bank architectures: reading them from JSON, and the rules of a space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from smash.errors import InvalidValueError
from smash.spaces.memory_bank.architecture import (
    GATES,
    JUNCTIONS,
    STYLES,
    Block,
    Convolution,
    Gate,
    MemoryBankArchitecture,
    Op,
)
from smash.spaces.memory_bank.options import MemoryBankOptions


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
    """Requires an int: True and 1.0 equal 1, but would give the architecture another id."""
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
    """Lists the faults of an architecture under these options; none if it is valid."""
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
        filled = options.layout.input_banks(index, block.bank_size)
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
        yield f"reads {op.reads} must be among the {filled} banks that are filled"
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
    """Lists the gates that an op may have, whatever gate it has."""
    if not options.gates:
        return ()
    return tuple(gate for gate in GATES if not any(_check_gate(gate, op, bank_size, options)))


def _check_gate(gate: Gate, op: Op, bank_size: int, options: MemoryBankOptions) -> Iterable[str]:
    if not options.gates:
        yield "gates are not in this space: set the option gates=True"
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
