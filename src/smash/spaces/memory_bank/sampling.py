"""Sampling and mutation of memory-bank architectures within their budget.

The probabilities are those of Brock et al. (2017) and of their released program.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from smash.errors import InvalidValueError
from smash.spaces.memory_bank.architecture import (
    JUNCTIONS,
    Block,
    Convolution,
    Gate,
    MemoryBankArchitecture,
    Op,
)
from smash.spaces.memory_bank.options import MemoryBankOptions
from smash.spaces.memory_bank.validation import fitting_gates

T = TypeVar("T")


def sample(
    options: MemoryBankOptions, rng: np.random.Generator, progress: float = 1.0
) -> MemoryBankArchitecture:
    """Samples an architecture.

    Args:
        options: Options of the space.
        rng: Source of randomness.
        progress: Part of training that is done, 0…1: the budget and the kernels grow to their
            limits over the first half.
    """
    kernels = _kernels(options, progress)
    return MemoryBankArchitecture(
        tuple(_sample_block(options, index, rng, progress, kernels) for index in range(3))
    )


def mutate(
    options: MemoryBankOptions,
    architecture: MemoryBankArchitecture,
    rng: np.random.Generator,
    rate: float = 0.05,
) -> MemoryBankArchitecture:
    """Redraws each field of each op with probability `rate`, then repairs the ops.

    Bank sizes stay and no op is added; ops at the end are dropped where they exceed the budget.

    Raises:
        InvalidValueError: `rate` is not within 0…1, or the space has no other architecture.
    """
    if not 0 < rate <= 1:
        raise InvalidValueError(f"rate must be more than 0 and at most 1, got {rate:g}")
    for _ in range(10_000):
        changed = MemoryBankArchitecture(
            tuple(
                _mutate_block(options, index, block, rng, rate)
                for index, block in enumerate(architecture.blocks)
            )
        )
        if changed != architecture:
            return changed
    raise InvalidValueError(
        f"a mutation rate of {rate} changes nothing in this space: try a larger rate"
    )


def _kernels(options: MemoryBankOptions, progress: float) -> tuple[int, ...]:
    """Lists the kernel extents allowed so far: of 3, 5, 7, the second from 1/8, third from 3/8."""
    steps = len(options.kernels) - 1
    return options.kernels[: 1 + math.floor(min(1.0, 2 * progress) * steps + 0.5)]


def _sample_block(
    options: MemoryBankOptions,
    index: int,
    rng: np.random.Generator,
    progress: float,
    kernels: Sequence[int],
) -> Block:
    fraction = rng.uniform(0.3, min(1.0, 0.5 + progress))
    bank_size = _choose(options.bank_sizes(index), rng)
    filled = options.layout.input_banks(index, bank_size)
    limit = options.max_banks(index, bank_size, fraction)
    cheapest = options.cheapest(bank_size)
    left = max(int(fraction * options.budgets[index].positions), cheapest)
    ops: list[Op] = []
    while left >= cheapest:
        reads = _draw_reads(options, bank_size, filled, left, rng)
        outputs = _draw_outputs(options, bank_size, len(reads), limit, rng)
        writes = _draw_writes(outputs // bank_size, filled, limit, rng)
        op = Op(reads, writes, outputs, _draw_grid(options, kernels, rng))
        gate = _draw_gate(options, op, bank_size, rng)
        if gate is not None:
            op = replace(op, gate=gate)
        if op.written < outputs:
            writes = _draw_writes(op.written // bank_size, filled, limit, rng)
            op = replace(op, writes=writes)
        ops.append(op)
        left -= options.cost(len(reads), bank_size)
        filled = max(filled, writes[-1] + 1)
    return Block(bank_size, tuple(ops))


def _draw_reads(
    options: MemoryBankOptions, bank_size: int, filled: int, left: int, rng: np.random.Generator
) -> tuple[int, ...]:
    step = options.read_step(bank_size)
    count = step * int(rng.integers(1, filled // step + 1))
    affordable = left * options.depth_compression // bank_size // step * step
    return _subset(filled, min(count, affordable), rng)


def _draw_outputs(
    options: MemoryBankOptions, bank_size: int, reads: int, limit: int, rng: np.random.Generator
) -> int:
    """Draws G; ops that compute about as many channels as they read are likely."""
    most = min(options.max_outputs, limit * bank_size)
    sizes = range(bank_size, most + 1, bank_size)
    return _pick(sizes, [1 / (0.01 + 10 * abs(size - reads * bank_size)) for size in sizes], rng)


def _draw_writes(parts: int, filled: int, limit: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Draws at least `parts` banks to write; empty banks are opened in order."""
    candidates = filled + min(parts, limit - filled)
    counts = range(parts, max(filled // 2, parts) + 1)
    count = _pick(counts, [math.exp(parts - count) for count in counts], rng)
    return _open_in_order(_subset(candidates, count, rng), filled)


def _open_in_order(writes: Sequence[int], filled: int) -> tuple[int, ...]:
    """Renumbers the empty banks among `writes` so that none is skipped."""
    old = [bank for bank in writes if bank < filled]
    return (*old, *range(filled, filled + len(writes) - len(old)))


def _draw_grid(
    options: MemoryBankOptions, kernels: Sequence[int], rng: np.random.Generator
) -> tuple[Convolution | None, ...]:
    grids = tuple(options.grids)
    active = _pick(grids, list(options.grids.values()), rng)
    return tuple(_draw_convolution(options, kernels, rng) if on else None for on in active)


def _draw_convolution(
    options: MemoryBankOptions, kernels: Sequence[int], rng: np.random.Generator
) -> Convolution:
    kernel = _draw_kernel(options, kernels, rng)
    return Convolution(
        kernel=kernel,
        dilation=_draw_dilation(options, kernel, rng),
        groups=_choose(options.groups, rng),
        nonlinearity=_choose(options.nonlinearities, rng),
    )


def _draw_kernel(
    options: MemoryBankOptions, kernels: Sequence[int], rng: np.random.Generator
) -> tuple[int, ...]:
    return tuple(_choose(kernels, rng) for _ in range(options.dims))


def _draw_dilation(
    options: MemoryBankOptions, kernel: tuple[int, ...], rng: np.random.Generator
) -> tuple[int, ...]:
    return tuple(int(rng.integers(1, options.max_dilation_of(extent) + 1)) for extent in kernel)


def _draw_gate(
    options: MemoryBankOptions, op: Op, bank_size: int, rng: np.random.Generator
) -> Gate | None:
    """Draws the gate of an op: each junction with probability 1/4, then any fitting style."""
    fitting = fitting_gates(op, bank_size, options)
    if not fitting:
        return None
    junction = _choose((*JUNCTIONS, None, None), rng)  # at most one gate per op
    gates = [gate for gate in fitting if gate.junction == junction]
    return _choose(gates, rng) if gates else None


def _mutate_block(
    options: MemoryBankOptions, index: int, block: Block, rng: np.random.Generator, rate: float
) -> Block:
    """Mutates the ops in order, so that each repair knows which banks are filled."""
    bank_size = block.bank_size
    filled = options.layout.input_banks(index, bank_size)
    limit = options.max_banks(index, bank_size)
    left = options.budgets[index].positions
    ops: list[Op] = []
    for op in block.ops:
        if left < options.cheapest(bank_size):
            break
        reads = _repair_reads(options, op.reads, bank_size, filled, left)
        if not reads or rng.random() < rate:
            reads = _draw_reads(options, bank_size, filled, left, rng)
        outputs = op.outputs
        if rng.random() < rate:
            outputs = _draw_outputs(options, bank_size, len(reads), limit, rng)
        changed = Op(reads, op.writes, outputs, op.grid, op.gate)
        changed = _repair_gate(options, changed, bank_size)
        parts = changed.written // bank_size
        writes = _repair_writes(op.writes, parts, filled, limit)
        if not writes or rng.random() < rate:
            writes = _draw_writes(parts, filled, limit, rng)
        grid = _mutate_grid(options, op.grid, rng, rate)
        changed = Op(reads, writes, outputs, grid, changed.gate)
        changed = _repair_gate(options, changed, bank_size)
        if options.gates and rng.random() < rate:
            changed = replace(changed, gate=_draw_gate(options, changed, bank_size, rng))
        if changed.written // bank_size != parts:  # a gate that splits was added or removed
            parts = changed.written // bank_size
            writes = _repair_writes(writes, parts, filled, limit)
            writes = writes or _draw_writes(parts, filled, limit, rng)
            changed = replace(changed, writes=writes)
        ops.append(changed)
        left -= options.cost(len(reads), bank_size)
        filled = max(filled, writes[-1] + 1)
    return Block(bank_size, tuple(ops))


def _repair_reads(
    options: MemoryBankOptions, reads: tuple[int, ...], bank_size: int, filled: int, left: int
) -> tuple[int, ...]:
    """Keeps the reads of filled banks that the budget allows; maybe none."""
    step = options.read_step(bank_size)
    affordable = left * options.depth_compression // bank_size
    valid = [bank for bank in reads if bank < filled]
    return tuple(valid[: min(len(valid), affordable) // step * step])


def _repair_writes(writes: tuple[int, ...], parts: int, filled: int, limit: int) -> tuple[int, ...]:
    """Opens new banks in order; gives no writes if fewer than `parts` remain."""
    old = sum(bank < filled for bank in writes)
    new = min(len(writes) - old, parts, limit - filled)
    repaired = _open_in_order(writes[: old + new], filled)
    return repaired if len(repaired) >= parts else ()


def _repair_gate(options: MemoryBankOptions, op: Op, bank_size: int) -> Op:
    """Removes the gate if it no longer fits."""
    fits = op.gate is None or op.gate in fitting_gates(op, bank_size, options)
    return op if fits else replace(op, gate=None)


def _mutate_grid(
    options: MemoryBankOptions,
    grid: tuple[Convolution | None, ...],
    rng: np.random.Generator,
    rate: float,
) -> tuple[Convolution | None, ...]:
    """Redraws the pattern of the grid, and each setting for all of its convolutions."""
    convolutions = list(grid)
    if rng.random() < rate:
        drawn = _draw_grid(options, options.kernels, rng)
        convolutions = [old if new and old else new for old, new in zip(grid, drawn, strict=True)]
    kernels, dilations, groups, nonlinearities = (rng.random(4) < rate).tolist()
    for position, conv in enumerate(convolutions):
        if conv is None:
            continue
        if kernels:
            kernel = _draw_kernel(options, options.kernels, rng)
            limits = map(options.max_dilation_of, kernel)
            dilation = tuple(map(min, conv.dilation, limits))
            conv = replace(conv, kernel=kernel, dilation=dilation)
        if dilations:
            conv = replace(conv, dilation=_draw_dilation(options, conv.kernel, rng))
        if groups:
            conv = replace(conv, groups=_choose(options.groups, rng))
        if nonlinearities:
            conv = replace(conv, nonlinearity=_choose(options.nonlinearities, rng))
        convolutions[position] = conv
    return tuple(convolutions)


def _choose(items: Sequence[T], rng: np.random.Generator) -> T:
    return items[int(rng.integers(len(items)))] if len(items) > 1 else items[0]


def _pick(items: Sequence[T], weights: Sequence[float], rng: np.random.Generator) -> T:
    """Draws an item with a probability proportional to its weight."""
    threshold = rng.random() * math.fsum(weights)
    for item, weight in zip(items, weights, strict=True):
        threshold -= weight
        if threshold < 0:
            return item
    return items[-1]


def _subset(size: int, count: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Draws `count` numbers below `size` without replacement, ascending."""
    return tuple(sorted(rng.permutation(size)[:count].tolist()))
