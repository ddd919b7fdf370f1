import hashlib
import json
from typing import Any

import pytest
import torch

from smash.errors import InvalidValueError
from smash.spaces import MemoryBankSpace
from smash.spaces.memory_bank import Block, Gate, MemoryBankOptions
from smash.spaces.memory_bank.validation import check
from tests.spaces.cases import OPTIONS, architecture, convolution, op, rng_of

HAND_WRITTEN = architecture(
    Block(
        2,
        (
            op((0,), (1, 4), 4, convolution(5, dilation=2, groups=2)),
            op((1, 3, 4), (0, 2), 2, convolution(3, dilation=3)),
        ),
    ),
    Block(1, (op((0, 1), (2,), 1, convolution(7)),)),
    Block(2, (op((0, 6), (6, 7), 4),)),
)
GOLDEN = "45310b6e6d09"
GATED_GOLDEN = "94609fb5a438"


def test_identify_fixed_architecture_keeps_its_id():
    space = MemoryBankSpace()
    assert space.from_json(space.to_json(HAND_WRITTEN)) == HAND_WRITTEN  # it is valid
    assert space.identify(HAND_WRITTEN) == GOLDEN


def test_identify_hashes_canonical_json():
    def conv(extent, dilation, groups):
        return (
            f'{{"dilation":[{dilation},{dilation}],"groups":{groups},'
            f'"kernel":[{extent},{extent}],"nonlinearity":"relu"}}'
        )

    def written(reads, writes, outputs, grid):
        return (
            f'{{"grid":[{grid},null,null,null],"outputs":{outputs},'
            f'"reads":{reads},"writes":{writes}}}'
        )

    first = (
        written("[0]", "[1,4]", 4, conv(5, 2, 2))
        + ","
        + written("[1,3,4]", "[0,2]", 2, conv(3, 3, 1))
    )
    blocks = ",".join(
        f'{{"bank_size":{size},"ops":[{ops}]}}'
        for size, ops in (
            (2, first),
            (1, written("[0,1]", "[2]", 1, conv(7, 1, 1))),
            (2, written("[0,6]", "[6,7]", 4, conv(3, 1, 1))),
        )
    )
    text = f'{{"blocks":[{blocks}],"space":"memory-bank"}}'
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert MemoryBankSpace().identify(HAND_WRITTEN) == digest[:12]


@pytest.mark.parametrize(
    "sampling_only",
    [
        {"depth": 20},
        {"depth_compression": 1},
        {"max_dilation": 2},
        {"max_kernel": 9},
        {"max_groups": 4},
        {"grid": "var"},
        {"grid": "var", "gates": True},
        {"variable_kernel": False},
        {"variable_groups": False},
        {"variable_nonlinearity": True},
        {"bank_size": 2},
    ],
)
def test_identify_sampling_options_keep_the_id(sampling_only):
    space = MemoryBankSpace(MemoryBankOptions(**sampling_only))
    assert space.identify(HAND_WRITTEN) == GOLDEN


def test_identify_structural_options_change_the_id():
    changes: list[dict[str, Any]] = [
        {},
        {"width": 5},
        {"bank_width": 16},
        {"max_width": 128},
        {"bottleneck": 2},
        {"max_bottleneck": 3},
        {"normalisation": "bare"},
        {"op_norm": True},
        {"preactivation": False},
        {"stem_stride": 2},
        {"dims": 1},
    ]
    ids = {
        MemoryBankSpace(MemoryBankOptions(**change)).identify(HAND_WRITTEN) for change in changes
    }
    assert len(ids) == len(changes)


def test_identify_each_field_changes_the_id():
    space, rng = MemoryBankSpace(OPTIONS["all-variable"]), rng_of(1)
    seen = {}
    now = space.sample(rng)
    for _ in range(200):
        now = space.mutate(now, rng)
        assert seen.setdefault(space.identify(now), now) == now, "seed 1"
    assert len(seen) > 150


@pytest.mark.parametrize("name", OPTIONS)
def test_from_json_returns_what_to_json_wrote(name):
    space, rng = MemoryBankSpace(OPTIONS[name]), rng_of(2)
    for turn in range(3):
        before = space.sample(rng)
        after = space.parse(json.dumps(space.to_json(before)))
        assert after == before, f"seed 2, turn {turn}"
        assert hash(after) == hash(before)


def test_features_contain_the_share_of_each_gate():
    on, off = MemoryBankSpace(GATED_OPTIONS), MemoryBankSpace(GATED_OPTIONS.replaced(gates=False))
    plain, with_gate = (
        gated((1, 4), 4, gate, *FULL) for gate in (None, Gate("second", "multiply"))
    )
    assert off.features(plain).shape == (36,)
    before, after = on.features(plain), on.features(with_gate)
    assert before.shape == after.shape == (48,)
    assert torch.equal(before.reshape(3, 16)[:, :12].flatten(), off.features(plain))
    # The first block has two ops, one of them gated.
    assert (after - before).nonzero().tolist() == [[14]]
    assert after[14] == 0.5
    assert on.readable(gated((4,), 4, Gate("first", "split"), *FULL))["width"] == 8 * 9 / 4
    assert on.readable(plain)["width"] == 8 * 11 / 4


def changed(*path_and_value):
    """The hand-written architecture's JSON with the value at a path replaced."""
    *path, last, value = path_and_value
    document = json.loads(json.dumps(MemoryBankSpace().to_json(HAND_WRITTEN)))
    place = document
    for step in path:
        place = place[step]
    place[last] = value
    return document


FIRST = ("blocks", 0, "ops", 0)
GATED_OPTIONS = MemoryBankOptions(grid="var", gates=True)
FULL = [convolution(3)] * 4


def gated(writes: tuple[int, ...], outputs: int, gate: Gate | None, *grid):
    """The hand-written architecture whose first op, in a block of bank size 2, has a gate."""
    first, *others = HAND_WRITTEN.blocks
    return architecture(
        Block(2, (op((0,), writes, outputs, *grid, gate=gate), *first.ops[1:])), *others
    )


def test_to_json_gate_is_a_key_of_its_op_and_part_of_the_id():
    space = MemoryBankSpace(GATED_OPTIONS)
    plain = gated((1, 4), 4, None, *FULL)
    with_gate = gated((1, 4), 4, Gate("first", "split"), *FULL)
    document = space.to_json(with_gate)
    assert document["blocks"][0]["ops"][0].pop("gate") == {"junction": "first", "style": "split"}
    assert document == space.to_json(plain)
    assert "gate" not in json.dumps(document)
    gates = [Gate(j, s) for j in ("first", "second") for s in ("multiply", "split")]
    found = [gated((1, 4), 4, gate, *FULL) for gate in (None, *gates)]
    assert len({space.identify(each) for each in found}) == 5
    for each in found:
        assert space.parse(json.dumps(space.to_json(each))) == each
    assert space.identify(with_gate) == GATED_GOLDEN


def test_check_splitting_gate_writes_half_of_the_outputs():
    split, multiply = Gate("second", "split"), Gate("second", "multiply")
    assert check(gated((4,), 4, split, *FULL), GATED_OPTIONS) == []
    (fault,) = check(gated((4,), 4, multiply, *FULL), GATED_OPTIONS)
    assert fault == "block 0, op 0: writes (4,) must be ascending banks, at least 2"


@pytest.mark.parametrize(
    ("gate", "outputs", "grid", "fault"),
    [
        (Gate("first", "multiply"), 4, [FULL[0]], "at the first junction needs two convolutions"),
        (Gate("first", "multiply"), 4, FULL[:2], "at the first junction needs two convolutions"),
        (Gate("second", "split"), 4, FULL[:3], "at the second junction needs two convolutions"),
        (Gate("first", "split"), 2, FULL, "splits needs outputs of 2 × a multiple of 2, got 2"),
        (Gate("second", "split"), 6, FULL, "splits needs outputs of 2 × a multiple of 2, got 6"),
        (Gate("third", "multiply"), 4, FULL, "junction 'third' must be one of ('first', 'second')"),
        (Gate("fi\nrst", "split"), 4, FULL, "junction 'fi\\nrst' must be one of"),
        (Gate("first", "add"), 4, FULL, "style 'add' must be one of ('multiply', 'split')"),
    ],
)
def test_check_misfitting_gate_states_the_rule(gate, outputs, grid, fault):
    writes = tuple(sorted((4, 1, 2)[: outputs // 2]))
    written = gated(writes, outputs, gate, *grid)
    space = MemoryBankSpace(GATED_OPTIONS)
    with pytest.raises(InvalidValueError) as caught:
        space.parse(json.dumps(space.to_json(written)))
    (told,) = caught.value.faults
    assert told.startswith("block 0, op 0: a gate")
    assert fault in told


def test_check_gate_without_option_states_the_option():
    written = gated((1, 4), 4, Gate("first", "multiply"), *FULL)
    (fault,) = check(written, MemoryBankOptions(grid="var"))
    assert fault == "block 0, op 0: gates are not in this space: set the option gates=True"


@pytest.mark.parametrize("gate", [7, "first", [], {}, {"junction": "first"}, {"style": ["split"]}])
def test_from_json_malformed_gate_raises(gate):
    space = MemoryBankSpace(GATED_OPTIONS)
    document = space.to_json(gated((1, 4), 4, None, *FULL))
    document["blocks"][0]["ops"][0]["gate"] = gate
    with pytest.raises(InvalidValueError, match="not an architecture of memory banks"):
        space.from_json(document)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        7,
        "text",
        {},
        {"blocks": {"a": 1}},
        changed("blocks", []),
        changed("blocks", 0, None),
        changed("blocks", 0, "bank_size", 0),
        changed("blocks", 0, "bank_size", 3),
        changed("blocks", 0, "bank_size", "2\n3"),
        changed("blocks", 0, "bank_size", 2.0),
        changed("blocks", 1, "bank_size", True),
        changed("blocks", 0, "ops", []),
        changed(*FIRST, "reads", []),
        changed(*FIRST, "reads", [4]),
        changed(*FIRST, "reads", [-1]),
        changed(*FIRST, "reads", [1, 0]),
        changed(*FIRST, "reads", [0, 0]),
        changed(*FIRST, "reads", [0.0]),
        changed(*FIRST, "reads", [False]),
        changed(*FIRST, "reads", "0"),
        changed(*FIRST, "writes", []),
        changed(*FIRST, "writes", [1]),
        changed(*FIRST, "writes", [1, 5]),
        changed(*FIRST, "writes", [1, 4.0]),
        changed(*FIRST, "outputs", 3),
        changed(*FIRST, "outputs", 0),
        changed(*FIRST, "outputs", 10),
        changed(*FIRST, "outputs", 4.0),
        changed(*FIRST, "outputs", float("nan")),
        changed(*FIRST, "grid", []),
        changed(*FIRST, "grid", [None] * 4),
        changed(*FIRST, "grid", 0, None),
        changed(*FIRST, "grid", 0, "kernel", [5]),
        changed(*FIRST, "grid", 0, "kernel", [4, 4]),
        changed(*FIRST, "grid", 0, "kernel", [5.0, 5.0]),
        changed(*FIRST, "grid", 0, "kernel", [[5], [5]]),
        changed(*FIRST, "grid", 0, "dilation", [3, 2]),
        changed(*FIRST, "grid", 0, "dilation", [0, 1]),
        changed(*FIRST, "grid", 0, "dilation", [1.5, 1]),
        changed(*FIRST, "grid", 0, "groups", 3),
        changed(*FIRST, "grid", 0, "groups", "2\n2"),
        changed(*FIRST, "grid", 0, "groups", True),
        changed(*FIRST, "grid", 0, "nonlinearity", "tanh"),
        changed(*FIRST, "grid", 0, "nonlinearity", "re\nlu"),
        changed(*FIRST, "grid", 0, "nonlinearity", ["relu"]),
    ],
    ids=lambda value: str(value)[:60] if not isinstance(value, dict) else None,
)
def test_from_json_malformed_architecture_raises(value):
    with pytest.raises(InvalidValueError) as caught:
        MemoryBankSpace().from_json(value)
    assert caught.value.faults
    assert all("\n" not in fault for fault in caught.value.faults)
    assert len(str(caught.value).splitlines()) == len(caught.value.faults)


def test_from_json_reports_all_faults_with_their_place():
    value = changed(*FIRST, "reads", [9])
    value["blocks"][2]["ops"][0]["outputs"] = 3
    with pytest.raises(InvalidValueError) as caught:
        MemoryBankSpace().from_json(value)
    told = str(caught.value)
    assert "block 0, op 0: reads (9,)" in told
    assert "block 2, op 0: outputs 3" in told
