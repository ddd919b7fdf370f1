"""The encoding's channels and places, written out by hand.

The space has N = 8, k = 4 and d = 2. Its channels, counted from the method's description: 0 banks
read (16 of them: the most that a block may have, as wide as N), 16 banks written, 32 block,
35 outputs G, then 18 a convolution from 39 (A1), 57 (A2), 75 (B1), 93 (B2), and 111 gates. Of a
convolution: 0 active, 1 kernel 3 or 5 and 3 dilation 1…3 of the first axis, 6 and 8 of the second,
11 groups 1, 2, 4, 8, and 15 ReLU, tanh, sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from smash.hypernet.encoding import GridEncoding
from smash.spaces import MemoryBankSpace
from smash.spaces.memory_bank import (
    Block,
    Gate,
    MemoryBankArchitecture,
    MemoryBankOptions,
    Op,
)
from smash.spaces.memory_bank.validation import check
from tests.spaces.cases import OPTIONS, architecture, convolution, op, rng_of

CODED = OPTIONS["tiny"].replaced(
    width=2, grid="var", gates=True, max_kernel=5, variable_nonlinearity=True
)
A1, A2, B1, B2 = 39, 57, 75, 93
GATE = 111
CHANNELS = 115

CONV = convolution(3)
WIDE = convolution(5, dilation=2, groups=4, nonlinearity="sigmoid")
FULL = (CONV, WIDE, CONV, WIDE)
# Op by op: the positions it lies at, and G.
PLACES = [([0, 1], 4), ([2, 3, 4, 5], 4), ([6, 7, 8], 3), ([9], 2), ([10, 11], 1)]
HAND_WRITTEN = architecture(
    # A bank of 4 units of N channels fills two positions.
    Block(4, (op((0,), (1,), 4), op((0, 1), (0, 2), 4, CONV, WIDE))),
    # Two banks of 3 units fill three positions: the one in the middle reads of both.
    Block(3, (op((0, 1), (2,), 3, CONV, None, WIDE),)),
    # Two banks of one unit share a position.
    Block(
        1,
        (
            op((1, 4), (6,), 2, *FULL, gate=Gate("first", "split")),
            op((0, 2, 5, 6), (3,), 1, CONV, CONV, CONV),
        ),
    ),
)
READS = [
    *[(0, 0), (1, 0)],
    *[(2, 0), (3, 0), (4, 1), (5, 1)],
    *[(6, 0), (7, 0), (7, 1), (8, 1)],
    *[(9, 1), (9, 4)],
    *[(10, 0), (10, 2), (11, 5), (11, 6)],
]  # pairs of a position and a bank


def encode(arch: MemoryBankArchitecture) -> Tensor:
    assert check(arch, CODED) == []
    code = GridEncoding(CODED).encode(arch)
    assert set(code.unique().tolist()) == {-1, 1}
    return code


def changed(number: int, change: Callable[[Op], Op]) -> MemoryBankArchitecture:
    """The hand-written architecture with op `number`, of all, changed."""
    blocks, first = [], 0
    for block in HAND_WRITTEN.blocks:
        ops = tuple(
            change(o) if first + index == number else o for index, o in enumerate(block.ops)
        )
        first += len(ops)
        blocks.append(Block(block.bank_size, ops))
    return MemoryBankArchitecture(tuple(blocks))


def test_encode_has_the_documented_shape():
    code = encode(HAND_WRITTEN)
    assert tuple(code.shape) == (CHANNELS, 4, 12)
    encoding = GridEncoding(CODED)
    assert (encoding.channels, encoding.rows) == (CHANNELS, 4)
    assert encoding.max_positions == 10 + 19 + 35
    assert GridEncoding(CODED.replaced(gates=False)).channels == GATE


def test_encode_marks_banks_at_the_positions_of_their_read():
    code = encode(HAND_WRITTEN)
    found = [(s, bank) for s in range(12) for bank in range(16) if code[bank, 0, s] == 1]
    assert found == READS


def test_encode_marks_only_the_first_rows():
    code = encode(HAND_WRITTEN)
    for positions, outputs in PLACES:
        for s in positions:
            first = code[:, 0, s]
            for row in range(4):
                expected = first if row < outputs else -torch.ones(CHANNELS)
                assert torch.equal(code[:, row, s], expected), (s, row)


def test_encode_op_gives_worked_out_channels():
    """The fourth op: everything that is true at its position."""
    first = [A1, A1 + 1, A1 + 3, A1 + 6, A1 + 8, A1 + 11, A1 + 15]
    second = [A2, A2 + 2, A2 + 4, A2 + 7, A2 + 9, A2 + 13, A2 + 17]
    expected = {1, 4, 16 + 6, 32 + 2, 35 + 1, GATE + 1}
    expected |= {*first, *(c + B1 - A1 for c in first), *second, *(c + B2 - A2 for c in second)}
    code = encode(HAND_WRITTEN)
    assert set((code[:, 1, 9] == 1).nonzero().flatten().tolist()) == expected


def conv(position: int, **settings: object) -> Callable[[Op], Op]:
    def change(o: Op) -> Op:
        found = o.grid[position]
        assert found is not None
        grid = list(o.grid)
        grid[position] = replace(found, **settings)  # type: ignore[arg-type]
        return replace(o, grid=tuple(grid))

    return change


def gate(junction: str, style: str) -> Callable[[Op], Op]:
    return lambda o: replace(o, gate=Gate(junction, style))


@pytest.mark.parametrize(
    ("number", "change", "off", "on"),
    [
        (0, conv(0, kernel=(5, 3)), {A1 + 1}, {A1 + 2}),
        (0, conv(0, kernel=(3, 5)), {A1 + 6}, {A1 + 7}),
        (0, conv(0, dilation=(2, 1)), {A1 + 3}, {A1 + 4}),
        (2, conv(0, dilation=(1, 3)), {A1 + 8}, {A1 + 10}),
        (2, conv(2, groups=8), {B1 + 13}, {B1 + 14}),
        (1, conv(1, groups=1), {A2 + 13}, {A2 + 11}),
        (3, conv(3, nonlinearity="tanh"), {B2 + 17}, {B2 + 16}),
        (3, conv(2, nonlinearity="sigmoid"), {B1 + 15}, {B1 + 17}),
        (3, conv(3, kernel=(3, 3)), {B2 + 2, B2 + 7}, {B2 + 1, B2 + 6}),
        (3, lambda o: replace(o, gate=None, writes=(3, 6)), {GATE + 1}, {16 + 3}),
        (3, gate("second", "split"), {GATE + 1}, {GATE + 3}),
        (2, gate("first", "multiply"), set(), {GATE}),
        (1, lambda o: replace(o, writes=(1,)), {16, 18}, {17}),
        (2, lambda o: replace(o, writes=(0,)), {18}, {16}),
        (
            4,
            lambda o: replace(o, grid=(*o.grid[:2], None, None)),
            {B1, B1 + 1, B1 + 3, B1 + 6, B1 + 8, B1 + 11, B1 + 15},
            set(),
        ),
        (
            4,
            lambda o: replace(o, grid=(*o.grid[:3], WIDE)),
            set(),
            {B2, B2 + 2, B2 + 4, B2 + 7, B2 + 9, B2 + 13, B2 + 17},
        ),
    ],
)
def test_encode_changed_setting_changes_only_its_channels(number, change, off, on):
    before, after = encode(HAND_WRITTEN), encode(changed(number, change))
    positions, outputs = PLACES[number]
    expected = before.clone()
    for s in positions:
        for row in range(outputs):
            for channels, was in ((off, 1), (on, -1)):
                for channel in channels:
                    assert before[channel, row, s] == was, (channel, row, s)
                    expected[channel, row, s] = -was
    assert torch.equal(after, expected)


def test_encode_gate_has_its_channel():
    code = encode(changed(3, lambda o: replace(o, gate=Gate("second", "multiply"), writes=(3, 6))))
    assert (code[GATE:, 0] == 1).nonzero().tolist() == [[2, 9]]
    assert (code[GATE:, 1] == 1).nonzero().tolist() == [[2, 9]]
    assert (code[GATE:, 2:] == -1).all()


def test_encode_changed_read_changes_only_its_position():
    """The last op reads banks 0, 2 at one position and 5, 6 at the next."""
    before = encode(HAND_WRITTEN)
    after = encode(changed(4, lambda o: replace(o, reads=(0, 2, 4, 6))))
    assert (before != after).nonzero().tolist() == [[4, 0, 11], [5, 0, 11]]


def test_encode_more_outputs_mark_more_rows():
    before = encode(HAND_WRITTEN)
    after = encode(changed(4, lambda o: replace(o, outputs=3, writes=(1, 3, 4))))
    expected = before.clone()
    for s in (10, 11):
        expected[[35, 16 + 3], 0, s] = -1
        expected[[35 + 2, 16 + 1, 16 + 3, 16 + 4], 0, s] = 1
        expected[:, 1, s] = expected[:, 2, s] = expected[:, 0, s]
    assert torch.equal(after, expected)


def test_places_follow_each_other():
    places = GridEncoding(CODED).places(HAND_WRITTEN)
    assert [list(range(place.start, place.stop)) for place in places] == [
        positions for positions, _ in PLACES
    ]
    names = [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]
    assert [place.parameter for place in places] == [
        f"blocks.{block}.ops.{number}.project.weight" for block, number in names
    ]


def most_banks(options: MemoryBankOptions) -> int:
    """Banks of the block that may have the most: as METHOD's budgets say."""
    n, k, dc = (
        options.bank_width,
        options.max_width // options.bank_width,
        options.depth_compression,
    )
    c = 2 * n * options.width
    inputs, found = c, 0
    for scale in (1, 2, 4):
        width = 4 * c if scale == 4 else inputs + 2 * c
        for b in range(1, k + 1):
            banks = inputs // (b * n)
            if inputs % (b * n) or (b % dc and banks < dc) or options.bank_size not in (None, b):
                continue
            cheapest = b // dc if b % dc == 0 else b
            if cheapest > (inputs + options.depth * scale * c) // (n * dc):
                continue
            found = max(found, min(banks + options.depth * k // b, width // (b * n)))
        inputs = width // 2 // (2 * n) * 2 * n
    return found


def true_statements(
    options: MemoryBankOptions, index: int, o: Op, here: set[int]
) -> Iterator[bool]:
    """Whether each channel's statement holds where an op reads the banks `here`, in order."""
    yield from (bank in here for bank in range(most_banks(options)))
    yield from (bank in o.writes for bank in range(most_banks(options)))
    yield from (index == block for block in range(3))
    yield from (o.outputs == g + 1 for g in range(options.max_width // options.bank_width))
    divisors = [g for g in range(1, options.max_groups + 1) if options.bank_width % g == 0]
    kernels = range(3, (options.max_kernel if options.variable_kernel else 3) + 1, 2)
    names = ("relu", "tanh", "sigmoid")
    for found in o.grid:
        yield found is not None
        for axis in range(options.dims):
            yield from (found is not None and found.kernel[axis] == e for e in kernels)
            dilations = range(1, options.max_dilation + 1)
            yield from (found is not None and found.dilation[axis] == e for e in dilations)
        groups = divisors if options.variable_groups else [1]
        yield from (found is not None and found.groups == g for g in groups)
        allowed = names if options.variable_nonlinearity else names[:1]
        yield from (found is not None and found.nonlinearity == name for name in allowed)
    if options.gates:
        for junction in ("first", "second"):
            yield from (o.gate == Gate(junction, style) for style in ("multiply", "split"))


@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in ("original", "v1")])
def test_encode_agrees_with_independent_loop(name):
    options = OPTIONS[name]
    encoding, dc = GridEncoding(options), options.depth_compression
    for seed in range(3):
        arch = MemoryBankSpace(options).sample(rng_of(seed))
        columns = []
        for index, block in enumerate(arch.blocks):
            for o in block.ops:
                units = [bank for bank in o.reads for _ in range(block.bank_size)]
                for start in range(0, len(units), dc):
                    here = set(units[start : start + dc])
                    true = torch.tensor(list(true_statements(options, index, o, here)))
                    column = -torch.ones(len(true), encoding.rows)
                    column[true, : o.outputs] = 1
                    columns.append(column)
        assert encoding.channels == len(columns[0])
        assert torch.equal(encoding.encode(arch), torch.stack(columns, dim=2)), f"seed {seed}"


def test_encode_different_architectures_differ():
    space, rng = MemoryBankSpace(CODED), rng_of(5)
    now = space.sample(rng)
    seen: dict[bytes, MemoryBankArchitecture] = {}
    for _ in range(150):
        code = encode(now)
        assert seen.setdefault(code.numpy().tobytes(), now) == now, "seed 5"
        now = space.mutate(now, rng, 0.1)
    assert len(seen) > 100


def test_difference_lies_at_the_places_of_the_base():
    """The base's second op reads one bank less: all that come after it lie two positions lower."""
    fewer = changed(1, lambda old: replace(old, reads=(0,)))
    code, other = encode(HAND_WRITTEN), encode(fewer)
    assert (code.shape[-1], other.shape[-1]) == (12, 10)
    difference = GridEncoding(CODED).difference(HAND_WRITTEN, fewer)
    assert difference.shape == code.shape
    # The op that lost a read says the same at the two positions that it keeps.
    assert not difference.any()

    # The other way round, and with a change in a later op: the last one writes elsewhere.
    elsewhere = changed(4, lambda old: replace(old, writes=(4,)))
    difference = GridEncoding(CODED).difference(fewer, elsewhere)
    found = {tuple(place) for place in difference.nonzero().tolist()}
    # Writes are channels from 16 on; G is 1, so the first row alone; of ten positions the last two.
    assert found == {(16 + bank, 0, position) for bank in (3, 4) for position in (8, 9)}
    assert difference[16 + 4, 0, 8] == 2  # from −1 to 1
    assert difference[16 + 3, 0, 8] == -2


def test_difference_equal_places_is_that_of_the_encodings():
    wider = changed(1, lambda old: replace(old, grid=(CONV, CONV, None, None)))
    expected = encode(wider) - encode(HAND_WRITTEN)
    assert expected.any()
    assert torch.equal(GridEncoding(CODED).difference(HAND_WRITTEN, wider), expected)


def test_difference_missing_positions_are_zero():
    *blocks, last = HAND_WRITTEN.blocks
    shorter = architecture(*blocks, replace(last, ops=last.ops[:1]))
    assert not GridEncoding(CODED).difference(HAND_WRITTEN, shorter).any()
