import math
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from smash.errors import InvalidValueError
from smash.spaces import PRESETS, MemoryBankSpace
from smash.spaces.memory_bank import Block, Gate, MemoryBankArchitecture, MemoryBankOptions, Op
from smash.spaces.memory_bank.validation import check
from tests.spaces.cases import OPTIONS, rng_of

PROGRESS = (0.0, 0.1, 0.125, 0.3, 0.375, 0.5, 0.8, 1.0)
SAMPLES = 12  # of each option at each progress
GRIDS = {"1000": 0.05, "1010": 0.10, "1100": 0.15, "1110": 0.25, "1111": 0.45}


def block_sizes(options: MemoryBankOptions) -> list[tuple[int, int, int]]:
    """Input channels, largest width and channel budget of each block, as METHOD says."""
    base = 2 * options.bank_width
    c = base * options.width
    in_1, w_1 = c, c + 2 * c
    in_2 = w_1 // 2 // base * base
    w_2 = in_2 + 2 * c
    in_3 = w_2 // 2 // base * base
    d = options.depth
    return [
        (in_1, w_1, in_1 + d * c),
        (in_2, w_2, in_2 + d * 2 * c),
        (in_3, 4 * c, in_3 + d * 4 * c),
    ]


def pattern_of(op: Op) -> str:
    return "".join("0" if conv is None else "1" for conv in op.grid)


def written_of(op: Op) -> int:
    """A gate that splits halves what an op writes."""
    return op.outputs if op.gate is None or op.gate.style == "multiply" else op.outputs // 2


def op_faults(op: Op, b: int, filled: int, options: MemoryBankOptions) -> Iterator[str]:
    k, dc = options.max_width // options.bank_width, options.depth_compression
    if not op.reads or list(op.reads) != sorted(set(op.reads)) or min(op.reads) < 0:
        yield "reads are not a set"
    if max(op.reads) >= filled:
        yield "reads what nobody wrote"
    if dc > 1 and b % dc and len(op.reads) % dc:
        yield "reads no whole positions"
    if op.outputs % b or not 0 < op.outputs <= k:
        yield "outputs"
    pattern = pattern_of(op)
    parts = written_of(op) // b
    new = [bank for bank in op.writes if bank >= filled]
    if list(op.writes) != sorted(set(op.writes)) or len(op.writes) < parts or min(op.writes) < 0:
        yield "writes are not a set, or lose outputs"
    if new != [filled + i for i in range(len(new))]:
        yield "banks are skipped"
    if len(new) > parts:
        yield "opens more banks than it has outputs for"
    if op.gate is not None:
        joined = {"first": (0, 2), "second": (1, 3)}[op.gate.junction]
        if not options.gates or {pattern[i] for i in joined} != {"1"}:
            yield f"a gate at {op.gate.junction} of {pattern}"
        if op.gate.style == "split" and (op.outputs % 2 or op.outputs // 2 % b):
            yield "a gate splits what is no two banks"
        elif op.gate.style not in ("multiply", "split"):
            yield "style"
    fixed = {"single": "1000", "long": "1100", "big": "1111"}
    if pattern not in (GRIDS if options.grid == "var" else [fixed[options.grid]]):
        yield f"grid {pattern}"
    for conv in op.grid:
        if conv is None:
            continue
        if not len(conv.kernel) == len(conv.dilation) == options.dims:
            yield "axes"
        most = options.max_kernel if options.variable_kernel else 3
        for extent, dilation in zip(conv.kernel, conv.dilation, strict=True):
            if extent % 2 == 0 or not 3 <= extent <= most:
                yield "kernel"
            if not 1 <= dilation <= min(options.max_dilation, max(1, 4 - (extent - 1) // 2)):
                yield "dilation"
        if options.bank_width % conv.groups or conv.groups > options.max_groups:
            yield "groups"
        if conv.groups > 1 and not options.variable_groups:
            yield "groups where they do not vary"
        allowed = ("relu", "tanh", "sigmoid") if options.variable_nonlinearity else ("relu",)
        if conv.nonlinearity not in allowed:
            yield "non-linearity"


def faults(
    architecture: MemoryBankArchitecture, options: MemoryBankOptions, fraction: float = 1.0
) -> list[str]:
    """An independent check, written from METHOD; `fraction` is the largest part of the budget."""
    found = []
    n, dc, k = (
        options.bank_width,
        options.depth_compression,
        options.max_width // options.bank_width,
    )
    if len(architecture.blocks) != 3:
        return ["blocks"]
    for block, (inputs, width, budget) in zip(
        architecture.blocks, block_sizes(options), strict=True
    ):
        b = block.bank_size
        if options.bank_size not in (None, b) or not 1 <= b <= k or inputs % (b * n):
            found.append("bank size")
        if b % dc and inputs // (b * n) < dc:
            found.append("bank size for the compression")
        filled, spent = inputs // (b * n), 0
        limit = min(filled + math.ceil(fraction * options.depth * k) // b, width // (b * n))
        if not block.ops:
            found.append("no ops")
        for op in block.ops:
            found += op_faults(op, b, filled, options)
            filled = max(filled, *(bank + 1 for bank in op.writes))
            spent += len(op.reads) * b // dc
        cheapest = b // dc if b % dc == 0 else b
        if spent > max(math.floor(fraction * budget / (n * dc)), cheapest):
            found.append("budget")
        if filled > limit:
            found.append("banks")
    return found


@pytest.mark.parametrize("name", OPTIONS)
def test_sample_any_progress_is_valid(name):
    options = OPTIONS[name]
    space = MemoryBankSpace(options)
    for number, progress in enumerate(PROGRESS):
        rng = rng_of(number)
        for turn in range(SAMPLES):
            where = f"seed {number}, turn {turn}, progress {progress}"
            sampled = space.sample(rng, progress)
            assert check(sampled, options) == [], where
            assert faults(sampled, options, min(1.0, 0.5 + progress)) == [], where
            for block, (inputs, _, _) in zip(sampled.blocks, block_sizes(options), strict=True):
                filled = inputs // (block.bank_size * options.bank_width)
                for op in block.ops:
                    most = max(filled // 2, written_of(op) // block.bank_size)
                    assert len(op.writes) <= most, where
                    filled = max(filled, max(op.writes) + 1)


def test_sample_checks_two_thousand_samples():
    assert len(OPTIONS) * len(PROGRESS) * SAMPLES >= 2000


@pytest.mark.parametrize("name", OPTIONS)
def test_mutate_chains_stay_valid_and_change(name):
    options = OPTIONS[name]
    space = MemoryBankSpace(options)
    rate = 0.05 if name in ("v2", "original") else 0.2
    for seed in range(1 if name in ("v1", "v2", "original") else 2):
        rng = rng_of(seed)
        now = space.sample(rng)
        for step in range(50):
            where = f"seed {seed}, step {step}"
            before, now = now, space.mutate(now, rng, rate)
            assert now != before, where
            assert check(now, options) == [], where
            assert faults(now, options) == [], where
            for old, new in zip(before.blocks, now.blocks, strict=True):
                assert new.bank_size == old.bank_size, where
                assert 1 <= len(new.ops) <= len(old.ops), where


def test_mutate_leaves_its_argument_and_global_state():
    space = MemoryBankSpace(PRESETS["small"])
    rng = rng_of(3)
    before = space.sample(rng)
    copy = space.from_json(space.to_json(before))
    space.mutate(before, rng)
    assert before == copy


@pytest.mark.parametrize(
    ("field", "expected"),
    [("groups", 0.75), ("grid", 1 - sum(p * p for p in GRIDS.values()))],
)
def test_mutate_redraws_a_field_with_the_given_probability(field, expected):
    """Fields that no repair touches: 0.3 × the chance that a new draw differs."""
    space = MemoryBankSpace(PRESETS["v2"])
    rng = rng_of(12)
    seen = changed = 0
    for _ in range(60):
        before = space.sample(rng)
        after = space.mutate(before, rng, 0.3)
        for old, new in zip(before.blocks, after.blocks, strict=True):
            for a, b in zip(old.ops, new.ops, strict=False):
                if field == "grid":
                    seen += 1
                    changed += [c is None for c in a.grid] != [c is None for c in b.grid]
                elif a.grid[0] is not None and b.grid[0] is not None:  # always active
                    seen += 1
                    changed += a.grid[0].groups != b.grid[0].groups
    assert seen > 1000
    assert changed / seen == pytest.approx(0.3 * expected, abs=0.04), f"seed 12, {seen} ops"


def test_mutate_rate_outside_range_raises():
    space = MemoryBankSpace(PRESETS["tiny"])
    rng = rng_of(0)
    with pytest.raises(InvalidValueError, match="rate must be more than 0"):
        space.mutate(space.smallest(), rng, 0.0)


def kernels_at(progress: float, options: MemoryBankOptions, count: int = 25) -> set[int]:
    space, rng = MemoryBankSpace(options), rng_of(5)
    return {
        extent
        for _ in range(count)
        for block in space.sample(rng, progress).blocks
        for op in block.ops
        for conv in op.grid
        if conv is not None
        for extent in conv.kernel
    }


@pytest.mark.parametrize(
    ("progress", "kernels"),
    [
        (0.0, {3}),
        (0.1249, {3}),
        (0.125, {3, 5}),
        (0.3749, {3, 5}),
        (0.375, {3, 5, 7}),
        (1.0, {3, 5, 7}),
    ],
)
def test_sample_kernels_grow_over_the_first_half(progress, kernels):
    assert kernels_at(progress, PRESETS["v2"]) == kernels, "seed 5"


def test_sample_budget_grows_over_the_first_half():
    """The part of the budget that is spent: up to a half at first, up to all from 1/2 on."""
    options = PRESETS["original"]
    space = MemoryBankSpace(options)
    positions = [52, 102, 199]
    for progress, most in [(0.0, 0.5), (0.25, 0.75), (0.5, 1.0), (1.0, 1.0)]:
        rng = rng_of(6)
        spent = [
            sum(len(op.reads) for op in block.ops) * block.bank_size / 2 / positions[index]
            for _ in range(40)
            for index, block in enumerate(space.sample(rng, progress).blocks)
        ]
        assert max(spent) <= most, f"seed 6, progress {progress}"
        assert max(spent) > most - 0.04, f"seed 6, progress {progress}"
        assert 0.25 < min(spent) < 0.4, f"seed 6, progress {progress}"


def test_sample_depends_on_the_seed_only():
    space = MemoryBankSpace(OPTIONS["all-variable"])
    first = [space.sample(rng_of(7), p) for p in PROGRESS]
    assert first == [space.sample(rng_of(7), p) for p in PROGRESS]
    assert space.sample(rng_of(8)) != first[-1]


def test_sample_grids_have_published_probabilities():
    space, rng = MemoryBankSpace(OPTIONS["deep"]), rng_of(9)
    counts: Counter[str] = Counter()
    while counts.total() < 6000:
        for block in space.sample(rng).blocks:
            for op in block.ops:
                counts[pattern_of(op)] += 1
    assert set(counts) == set(GRIDS)
    for pattern, probability in GRIDS.items():
        deviation = math.sqrt(probability * (1 - probability) / counts.total())
        share = counts[pattern] / counts.total()
        assert share == pytest.approx(probability, abs=4 * deviation), f"seed 9, grid {pattern}"


def gates_of(op: Op, b: int) -> dict[Gate | None, float]:
    """What gates an op may have and how likely each is, as METHOD says."""
    pattern, styles = pattern_of(op), ["multiply"]
    if op.outputs % (2 * b) == 0:
        styles.append("split")
    joined = {"first": pattern[0] + pattern[2], "second": pattern[1] + pattern[3]}
    junctions = [junction for junction, convolutions in joined.items() if convolutions == "11"]
    found: dict[Gate | None, float] = {None: 1 - len(junctions) / 4}
    for junction in junctions:
        found |= {Gate(junction, style): 1 / 4 / len(styles) for style in styles}
    return found


@pytest.mark.parametrize("name", ["gates", "gates-post", "gates-deep"])
def test_sample_gates_have_published_probabilities(name):
    space, rng = MemoryBankSpace(OPTIONS[name]), rng_of(13)
    expected: dict[tuple[str, Gate | None], float] = defaultdict(float)
    variance: dict[tuple[str, Gate | None], float] = defaultdict(float)
    counts: Counter[tuple[str, Gate | None]] = Counter()
    while counts.total() < 5000:
        for block in space.sample(rng).blocks:
            for op in block.ops:
                counts[pattern_of(op), op.gate] += 1
                for gate, probability in gates_of(op, block.bank_size).items():
                    expected[pattern_of(op), gate] += probability
                    variance[pattern_of(op), gate] += probability * (1 - probability)
    assert set(counts) == set(expected)
    assert len({gate for _, gate in counts}) == 5
    for key, mean in expected.items():
        assert counts[key] == pytest.approx(mean, abs=4 * variance[key] ** 0.5), f"seed 13, {key}"


def test_mutate_redraws_gates_with_the_given_probability():
    """Where grid and G stay, so that no repair takes a gate."""
    space, rng = MemoryBankSpace(OPTIONS["gates-deep"]), rng_of(14)
    seen, changed, expected, variance, lost = 0, 0, 0.0, 0.0, 0
    for _ in range(120):
        before = space.sample(rng)
        after = space.mutate(before, rng, 0.3)
        for old, new in zip(before.blocks, after.blocks, strict=True):
            for a, b in zip(old.ops, new.ops, strict=False):
                if pattern_of(a) != pattern_of(b) or a.outputs != b.outputs:
                    lost += a.gate is not None and a.gate not in gates_of(b, new.bank_size)
                    continue
                same = sum(p * p for p in gates_of(a, old.bank_size).values())
                chance = 0.3 * (1 - same)
                seen, changed = seen + 1, changed + (a.gate != b.gate)
                expected, variance = expected + chance, variance + chance * (1 - chance)
    assert seen > 1500
    assert lost > 20  # of the others, some had to go
    assert changed == pytest.approx(expected, abs=4 * variance**0.5), f"seed 14, {seen} ops"


def test_sample_without_gates_keeps_the_recorded_draws():
    """Ids of samples and of mutations, taken before gates were there."""
    space, rng = MemoryBankSpace(OPTIONS["all-variable"]), rng_of(15)
    found = []
    for progress in (0.0, 0.5, 1.0):
        now = space.sample(rng, progress)
        found.append(space.identify(now))
        for _ in range(5):
            now = space.mutate(now, rng, 0.2)
        found.append(space.identify(now))
    assert found == [
        "9e891e24ee7c",
        "602dc3e61c59",
        "ab0894813467",
        "4c3d5637c3d4",
        "5b70f801a0e9",
        "b00ff9dea728",
    ]


def first_ops(count: int, seed: int) -> list[Op]:
    """First ops of a block of 4 filled banks of size 2, where k = 4: G is 2 or 4."""
    options = MemoryBankOptions(depth=1, max_width=32, bank_size=2)
    assert options.budgets[0].inputs == 4 * 2 * 8
    space, rng = MemoryBankSpace(options), rng_of(seed)
    return [space.sample(rng).blocks[0].ops[0] for _ in range(count)]


def test_sample_first_op_has_published_distributions():
    found = first_ops(4000, seed=10)
    # The budget of 8 positions × f (0.3…1) leaves 2 reads at least and 4 where f ≥ 1/2.
    by_reads: dict[int, list[Op]] = {count: [] for count in range(1, 5)}
    for op in found:
        by_reads[len(op.reads)].append(op)
    # 1 read: 1/4 of all. Each bank alike.
    assert len(by_reads[1]) / len(found) == pytest.approx(0.25, abs=0.028), "seed 10"
    banks = Counter(op.reads[0] for op in by_reads[1])
    assert all(banks[i] / len(by_reads[1]) == pytest.approx(0.25, abs=0.05) for i in range(4))
    for reads, ops in by_reads.items():
        weights = {g: 1 / (0.01 + 10 * abs(g - 2 * reads)) for g in (2, 4)}
        expected = weights[4] / sum(weights.values())
        share = sum(op.outputs == 4 for op in ops) / len(ops)
        deviation = math.sqrt(expected * (1 - expected) / len(ops))
        assert share == pytest.approx(expected, abs=4 * deviation + 1e-3), f"seed 10, {reads} reads"
    # G = b: one write or ⌊4/2⌋ = two, in the ratio 1 : 1/e.
    small = [len(op.writes) for op in found if op.outputs == 2]
    assert set(small) == {1, 2}
    assert small.count(1) / len(small) == pytest.approx(1 / (1 + math.exp(-1)), abs=0.04), "seed 10"
    # G = 2b: two writes, no more.
    assert {len(op.writes) for op in found if op.outputs == 4} == {2}


def test_check_agrees_with_independent_check():
    options = OPTIONS["tiny"]
    good = MemoryBankSpace(options).smallest()
    assert faults(good, options) == []
    first = good.blocks[0].ops[0]
    for bad in (
        Op((0, 2), first.writes, first.outputs, first.grid),  # 2 is not written
        Op(first.reads, (3,), first.outputs, first.grid),  # 2 is skipped
        Op((0,), first.writes, first.outputs, first.grid),  # half a position
        Op(first.reads, first.writes, 2, first.grid),  # loses half of the output
    ):
        changed = MemoryBankArchitecture((Block(1, (bad,)), *good.blocks[1:]))
        assert faults(changed, options), bad
        assert check(changed, options), bad
    options = OPTIONS["gates"]
    conv = first.grid[0]
    parallel, full = (conv, None, conv, None), (conv,) * 4
    split = Gate("first", "split")
    for outputs, writes, grid, gate, fine in (
        (2, (0,), parallel, split, True),
        (2, (0,), parallel, Gate("first", "multiply"), False),  # loses half of the output
        (2, (2, 3), parallel, split, False),  # opens two banks for one part
        (3, (0,), full, split, False),
        (2, (0,), full, Gate("second", "split"), True),
        (2, (0,), parallel, Gate("second", "split"), False),
    ):
        gated = Op(first.reads, writes, outputs, grid, gate)
        changed = MemoryBankArchitecture((Block(1, (gated,)), *good.blocks[1:]))
        assert (faults(changed, options) == []) == fine, gated
        assert faults(changed, OPTIONS["grid-var"]), gated
