import math
from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from smash.profiling.cost import measure_cost
from smash.spaces import MemoryBankSpace, Task
from smash.spaces.base import corner
from smash.spaces.memory_bank import (
    Block,
    Gate,
    MemoryBankArchitecture,
    MemoryBankOptions,
    Op,
)
from smash.spaces.memory_bank.validation import check
from tests.spaces.cases import (
    BIG,
    OPTIONS,
    architecture,
    convolution,
    fill,
    images_of,
    op,
    rng_of,
    task_of,
)

State = dict[str, Tensor]
CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
NONLINEAR: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def conv(x: Tensor, weight: Tensor, dilation=1, groups=1, stride=1) -> Tensor:
    dims = x.ndim - 2
    dilations = [dilation] * dims if isinstance(dilation, int) else list(dilation)
    padding = [d * (k // 2) for d, k in zip(dilations, weight.shape[2:], strict=True)]
    return CONVOLVE[dims](x, weight, None, stride, padding, dilations, groups)


def norm(x: Tensor, state: State, name: str) -> Tensor:
    return F.batch_norm(
        x,
        state[f"{name}.running_mean"],
        state[f"{name}.running_var"],
        state[f"{name}.weight"],
        state[f"{name}.bias"],
        training=False,
    )


def op_by_hand(x: Tensor, op: Op, options: MemoryBankOptions, state: State, name: str) -> Tensor:
    """An op as the method tells it, in eval mode."""
    batch = options.normalisation == "batch"
    if batch:
        x = F.relu(norm(x, state, f"{name}.norm"))
    x = conv(x, state[f"{name}.project.weight"])
    if not batch:
        x = F.relu(x)
    if batch and not options.op_norm:
        x = norm(x, state, f"{name}.project_norm")

    def at(position: int, y: Tensor) -> Tensor:
        setting = op.grid[position]
        if setting is None:
            return y
        here = f"{name}.{('a1', 'a2', 'b1', 'b2')[position]}"
        nonlinear = NONLINEAR[setting.nonlinearity]
        if options.op_norm:
            y = norm(y, state, f"{here}.norm")
        if options.preactivation:
            y = nonlinear(y)
        y = conv(y, state[f"{here}.conv.weight"], setting.dilation, setting.groups)
        return y if options.preactivation else nonlinear(y)

    if op.grid[2] is None:
        return at(1, at(0, x))
    a, b = at(0, x), at(2, x)
    if op.gate is not None and op.gate.junction == "first":
        y = gated(a, b, op.gate.style)
        if op.grid[1] is None:
            return y
        return at(1, y) if op.grid[3] is None else at(1, y) + at(3, y)
    a, b = at(1, a), at(3, b)
    if op.gate is None:
        return a + b
    return gated(a, b, op.gate.style)


def gated(a: Tensor, b: Tensor, style: str) -> Tensor:
    """One path by the other, or each even channel of their sum by the odd one after it."""
    if style == "multiply":
        return a.tanh() * b.sigmoid()
    pairs: Tensor = (a + b).unflatten(1, (-1, 2))
    return pairs[:, :, 0].tanh() * pairs[:, :, 1].sigmoid()


def child_by_hand(
    images: Tensor, arch: MemoryBankArchitecture, options: MemoryBankOptions, state: State
) -> Tensor:
    x = conv(images, state["stem.weight"])
    for index, block in enumerate(arch.blocks):
        size = block.bank_size * options.bank_width
        banks = {i: x[:, i * size : (i + 1) * size] for i in range(x.shape[1] // size)}
        for number, o in enumerate(block.ops):
            read = torch.cat([banks[bank] for bank in o.reads], 1)
            written = op_by_hand(read, o, options, state, f"blocks.{index}.ops.{number}")
            parts = written.shape[1] // size
            for turn, bank in enumerate(o.writes):
                start = turn % parts * size
                part = written[:, start : start + size]
                banks[bank] = banks[bank] + part if bank in banks else part
        x = torch.cat([banks[i] for i in range(len(banks))], 1)
        if index < 2:
            x = F.relu(norm(x, state, f"transitions.{index}.norm"))
            x = POOL[options.dims](conv(x, state[f"transitions.{index}.conv.weight"]), 2)
    x = F.relu(norm(x, state, "norm"))
    x = x.mean(tuple(range(2, x.ndim)))
    return x @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize("name", OPTIONS)
def test_network_agrees_with_hand_written_forward(name):
    options = OPTIONS[name]
    space, task = MemoryBankSpace(options), task_of(options)
    for seed in range(1 if name in BIG else 3):
        arch = space.sample(rng_of(seed), progress=0.0 if name in BIG else 1.0)
        child = space.build(arch, task, "cpu")
        fill(child, seed)
        child.double().eval()
        images = images_of(task, seed, count=2).double()
        with torch.no_grad():
            found = child(images)
            expected = child_by_hand(images, arch, options, child.state_dict())
        assert found.std() > 0
        torch.testing.assert_close(
            found, expected, rtol=1e-8, atol=1e-10, msg=lambda text, s=seed: f"seed {s}: {text}"
        )


@pytest.mark.parametrize("preactivation", [True, False])
@pytest.mark.parametrize(("normalisation", "op_norm"), [("bare", 0), ("batch", 0), ("batch", 1)])
def test_memory_op_gate_agrees_with_hand_written_forward(normalisation, op_norm, preactivation):
    options = GATED.replaced(
        normalisation=normalisation, op_norm=bool(op_norm), preactivation=preactivation
    )
    x = inputs(16)
    for gate, grid in GATED_GRIDS:
        splits = gate.style == "split"
        gated_op = op((0, 1), (0,) if splits else (0, 2), 2, *grid, gate=gate)
        block, state = block_one([gated_op], 1, options)
        with torch.no_grad():
            found = block.ops[0](x)
        expected = op_by_hand(x, gated_op, options, state, "ops.0")
        assert found.shape[1] == (8 if splits else 16)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_memory_block_split_output_cycles_over_banks():
    """G = 2 after a gate that splits is one part, which both banks get."""
    gated_op = op((0, 1), (0, 2), 2, *[PLAIN] * 4, gate=Gate("first", "split"))
    block, _ = block_one([gated_op], 1, GATED)
    x = inputs(16)
    with torch.no_grad():
        found, half = block(x), block.ops[0](x)
    torch.testing.assert_close(found, torch.cat([x[:, :8] + half, x[:, 8:], half], 1))


@pytest.mark.parametrize("style", ["multiply", "split"])
def test_memory_op_gate_gives_worked_out_numbers(style):
    """Convolutions that multiply by 2 on path A and by 3 on path B, and x > 0.

    Pre-activation too applies tanh and sigmoid to what the convolutions give.
    """
    options = GATED.replaced(normalisation="bare")
    writes = (0,) if style == "split" else (0, 1)
    for junction, grid, factors in (
        ("first", [PLAIN, None, PLAIN], (2, 3)),
        ("second", [PLAIN] * 4, (4, 9)),
    ):
        gate = Gate(junction, style)
        block, _ = block_one([op((0, 1), writes, 2, *grid, gate=gate)], 1, options)
        with torch.no_grad():
            block.ops[0].project.weight.copy_(torch.eye(16)[:, :, None, None])
            for position, factor in (("a1", 2), ("a2", 2), ("b1", 3), ("b2", 3)):
                layer = getattr(block.ops[0], position)
                if layer is not None:
                    layer.conv.weight.zero_()
                    layer.conv.weight[:, :, 1, 1] = factor * torch.eye(16)
        x = inputs(16).abs() / 10
        with torch.no_grad():
            found = block.ops[0](x)[2, :, 5, 1].tolist()
        values = x[2, :, 5, 1].tolist()
        a, b = factors
        if style == "multiply":
            expected = [math.tanh(a * v) / (1 + math.exp(-b * v)) for v in values]
        else:
            expected = [
                math.tanh((a + b) * values[2 * i]) / (1 + math.exp(-(a + b) * values[2 * i + 1]))
                for i in range(8)
            ]
        assert found == pytest.approx(expected, rel=1e-9)


def test_measure_cost_gated_ops_gives_worked_out_numbers():
    """16 channels in, G = 2, that is 16, at 8×8; a gate that splits leaves 8 of them."""
    space, task = MemoryBankSpace(GATED), task_of(GATED)
    costs = {}
    for gate, convolutions in (
        (None, 4 * 16 * 16 * 9),
        (Gate("first", "multiply"), 4 * 16 * 16 * 9),
        (Gate("second", "multiply"), 4 * 16 * 16 * 9),
        (Gate("first", "split"), 2 * 16 * 16 * 9 + 2 * 8 * 8 * 9),
        (Gate("second", "split"), 4 * 16 * 16 * 9),
    ):
        writes = (0,) if gate and gate.style == "split" else (0, 1)
        block = Block(1, (op((0, 1), writes, 2, *[PLAIN] * 4, gate=gate),))
        arch = architecture(block, *space.smallest().blocks[1:])
        assert check(arch, GATED) == []
        built = space.build(arch, task).blocks[0]
        norms = 2 * 2 * 16
        assert sum(p.numel() for p in built.parameters()) == 16 * 16 + norms + convolutions
        costs[gate] = measure_cost(space, arch, task)
    saved = 2 * (16 * 16 - 8 * 8) * 9
    for gate, cost in costs.items():
        less = saved if gate == Gate("first", "split") else 0
        assert cost.params == costs[None].params - less
        assert cost.macs == costs[None].macs - 64 * less


@pytest.mark.parametrize("name", OPTIONS)
def test_project_width_follows_the_published_formula(name):
    options = OPTIONS[name]
    space, task = MemoryBankSpace(options), task_of(options)
    arch = space.sample(rng_of(4))
    child = space.build(arch, task)
    for index, block in enumerate(arch.blocks):
        for number, o in enumerate(block.ops):
            n_in = len(o.reads) * block.bank_size * options.bank_width
            gn = o.outputs * options.bank_width
            clipped = max(1, min(math.floor(n_in / gn), options.bottleneck))
            width = min(clipped * gn, n_in, options.max_bottleneck * options.max_width)
            weight = child.get_parameter(f"blocks.{index}.ops.{number}.project.weight")
            assert tuple(weight.shape) == (width, n_in, *(1,) * options.dims), "seed 4"


@pytest.mark.parametrize("name", OPTIONS)
def test_build_on_meta_has_no_storage_and_fits_shared_tensors(name):
    options = OPTIONS[name]
    space, task = MemoryBankSpace(options), task_of(options)
    shapes, rng = space.shared_shapes(task), rng_of(5)
    assert check(space.largest(), options) == []
    assert check(space.smallest(), options) == []
    for arch in (space.smallest(), space.largest(), *(space.sample(rng) for _ in range(3))):
        child = space.build(arch, task)
        assert all(t.is_meta for t in [*child.parameters(), *child.buffers()])
        for parameter, value in child.named_parameters():
            corner(shapes[space.shared_name(parameter)], tuple(value.shape))


def test_shared_shapes_published_options_gives_documented_shapes():
    options = MemoryBankOptions(depth=1)
    shapes = MemoryBankSpace(options).shared_shapes(Task(channels=3, size=(32, 32), classes=10))
    assert shapes["stem.weight"] == (64, 3, 7, 7)
    assert shapes["blocks.1.a1.conv.weight"] == (64, 128, 7, 7)
    assert shapes["blocks.1.a2.conv.weight"] == (64, 64, 7, 7)
    assert shapes["blocks.1.norm.weight"] == (224,)
    assert shapes["transitions.0.conv.weight"] == (96, 192, 1, 1)
    assert shapes["transitions.1.norm.bias"] == (224,)
    assert shapes["norm.weight"] == (256,)
    assert shapes["classifier.weight"] == (10, 256)


@pytest.mark.parametrize(
    ("size", "stride"),
    [((32, 32), (1, 1)), ((8, 33), (1, 2)), ((96, 64), (3, 2)), ((256,), (1,)), ((257,), (2,))],
)
def test_network_large_input_reduced_by_the_stem(size, stride):
    space = MemoryBankSpace(OPTIONS["signal" if len(size) == 1 else "tiny"])
    child = space.build(space.smallest(), Task(channels=1, size=size, classes=2))
    assert child.stem.stride == stride


def block_one(ops: list[Op], bank_size: int, options: MemoryBankOptions):
    """The first block of a valid child that has these ops there, with its own random values."""
    space = MemoryBankSpace(options)
    arch = architecture(Block(bank_size, tuple(ops)), *space.smallest().blocks[1:])
    assert check(arch, options) == []
    block = space.build(arch, task_of(options), "cpu").get_submodule("blocks.0")
    fill(block, 0)
    block.double().eval()
    return block, block.state_dict()


def inputs(channels: int) -> Tensor:
    return torch.randn(3, channels, 6, 6, generator=torch.Generator().manual_seed(1)).double()


ONE = OPTIONS["uncompressed"].replaced(grid="single", depth=9)  # six banks of 8 channels, 2 filled
PLAIN = convolution(3)
GATED = OPTIONS["gates"].replaced(variable_nonlinearity=True)
TANH, SIGMOID = convolution(3, nonlinearity="tanh"), convolution(3, nonlinearity="sigmoid")
GATED_GRIDS = [
    (Gate(junction, style), grid)
    for style in ("multiply", "split")
    for junction, grid in (
        ("first", [PLAIN, None, TANH, None]),
        ("first", [TANH, SIGMOID, convolution(3, dilation=2), None]),
        ("first", [PLAIN, SIGMOID, TANH, convolution(3, groups=4)]),
        ("second", [PLAIN, SIGMOID, TANH, convolution(3, groups=4)]),
    )
]


def test_space_contains_the_resnet_bottleneck():
    """1×1 to a quarter, 3×3, 1×1 back, plus the input: He et al. 2016, BatchNorm, ReLU first."""
    options = ONE.replaced(grid="long", op_norm=True)
    ops = [op((0, 1), (0, 1), 2, PLAIN, PLAIN)] * 2
    block, _ = block_one(ops, 1, options)
    narrow, x = 4, inputs(16)
    expected = x
    for o in block.ops:
        with torch.no_grad():
            # The op is as wide as its output: zeros make the bottleneck and the second 1×1.
            reduce_, spread = o.project.weight, o.a2.conv.weight
            reduce_[narrow:] = 0
            o.a1.norm.running_mean[narrow:] = 0
            o.a1.norm.bias[narrow:] = 0
            o.a1.conv.weight[narrow:] = 0
            o.a2.norm.running_mean[narrow:] = 0
            o.a2.norm.bias[narrow:] = 0
            centre = spread[:, :, 1, 1].clone()
            spread.zero_()[:, :, 1, 1] = centre
        y = expected
        for layer, weight, inner, outer in (
            (o.norm, reduce_, 16, narrow),
            (o.a1.norm, o.a1.conv.weight, narrow, narrow),
            (o.a2.norm, spread[:, :, 1:2, 1:2], narrow, 16),
        ):
            y = F.batch_norm(
                y,
                layer.running_mean[:inner],
                layer.running_var[:inner],
                layer.weight[:inner],
                layer.bias[:inner],
                training=False,
            )
            weight = weight[:outer, :inner]
            y = F.conv2d(F.relu(y), weight, padding=weight.shape[-1] // 2)
        expected = expected + y
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)


def test_space_contains_the_densenet_bottleneck():
    """DenseNet-B of growth 8: its last layer has the published bottleneck of 4 · growth."""
    ops = [op(tuple(range(2 + i)), (2 + i,), 1) for i in range(3)]
    block, state = block_one(ops, 1, ONE)
    assert [tuple(o.project.weight.shape[:2]) for o in block.ops] == [(16, 16), (24, 24), (32, 32)]
    x = inputs(16)
    features = [x]
    for i in range(3):
        y = torch.cat(features, 1)
        y = F.conv2d(F.relu(norm(y, state, f"ops.{i}.norm")), state[f"ops.{i}.project.weight"])
        y = F.relu(norm(y, state, f"ops.{i}.project_norm"))
        features.append(F.conv2d(y, state[f"ops.{i}.a1.conv.weight"], padding=1))
    torch.testing.assert_close(block(x), torch.cat(features, 1), rtol=1e-5, atol=1e-5)


def test_space_contains_the_fractal_block():
    """Three columns of 4, 2 and 1 convolutions; joins average where banks add.

    The hand-written block divides at its joins; the architecture's next 1×1 convolutions are
    divided instead.
    """
    options = ONE.replaced(normalisation="bare")
    ops = [
        op((0,), (2,), 1),  # first column
        op((2,), (3,), 1),
        op((0,), (3,), 1),  # second column; a join of two in bank 3
        op((3,), (4,), 1),
        op((4,), (5,), 1),
        op((3,), (5,), 1),
        op((0,), (5,), 1),  # third column; a join of three in bank 5
        op((5,), (1,), 1),  # what comes next
    ]
    block, state = block_one(ops, 1, options)

    def f(number: int, x: Tensor) -> Tensor:
        y = F.relu(F.conv2d(x, state[f"ops.{number}.project.weight"]))
        return F.conv2d(F.relu(y), state[f"ops.{number}.a1.conv.weight"], padding=1)

    x = inputs(16)
    source = x[:, :8]
    join = (f(1, f(0, source)) + f(2, source)) / 2
    last = (f(4, f(3, join)) + f(5, join) + f(6, source)) / 3
    after = f(7, last)
    state = {name: value.clone() for name, value in state.items()}
    for number, scale in ((3, 2), (5, 2), (7, 3)):
        state[f"ops.{number}.project.weight"] /= scale
    block.load_state_dict(state)
    found = block(x)
    torch.testing.assert_close(found[:, 40:48] / 3, last, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[:, 8:16] - x[:, 8:], after, rtol=1e-5, atol=1e-5)
