import math
from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from smash.spaces import MemoryBankSpace, Task
from smash.spaces.base import corner
from smash.spaces.memory_bank import Block, MemoryBankArchitecture, MemoryBankOptions, Op
from smash.spaces.memory_bank.architecture import check
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
    paths = []
    for path, first in (("a", 0), ("b", 2)):
        y = x
        for position in (first, first + 1):
            setting = op.grid[position]
            if setting is None:
                continue
            here = f"{name}.{path}{position - first + 1}"
            nonlinear = NONLINEAR[setting.nonlinearity]
            if options.op_norm:
                y = norm(y, state, f"{here}.norm")
            if options.preactivation:
                y = nonlinear(y)
            y = conv(y, state[f"{here}.conv.weight"], setting.dilation, setting.groups)
            if not options.preactivation:
                y = nonlinear(y)
        if op.grid[first] is not None:
            paths.append(y)
    return sum(paths[1:], paths[0])


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
def test_a_child_computes_what_the_method_says(name):
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


@pytest.mark.parametrize("name", OPTIONS)
def test_a_projection_is_as_wide_as_the_method_says(name):
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
def test_a_child_on_the_meta_device_has_no_storage_and_fits_the_shared_tensors(name):
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


def test_shared_tensors_are_the_documented_ones():
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
    [((32, 32), (1, 1)), ((8, 33), (1, 2)), ((96, 64), (3, 2)), ((1024,), (1,)), ((1025,), (2,))],
)
def test_the_stem_brings_large_inputs_down(size, stride):
    space = MemoryBankSpace(OPTIONS["signal" if len(size) == 1 else "tiny"])
    child = space.build(space.smallest(), Task(channels=1, size=size, classes=2))
    assert child.stem.stride == stride


def block_one(ops: list[Op], bank_size: int, options: MemoryBankOptions):
    """The first block of a valid child that has these ops there, with its own random values."""
    space = MemoryBankSpace(options)
    arch = architecture(Block(bank_size, tuple(ops)), *space.smallest().blocks[1:])
    assert check(arch, options) == []
    block = space.build(arch, task_of(options), "cpu").blocks[0]
    fill(block, 0)
    block.double().eval()
    return block, block.state_dict()


def inputs(channels: int) -> Tensor:
    return torch.randn(3, channels, 6, 6, generator=torch.Generator().manual_seed(1)).double()


ONE = OPTIONS["uncompressed"].replaced(grid="single", depth=9)  # six banks of 8 channels, 2 filled
PLAIN = convolution(3)


def test_a_preactivation_bottleneck_of_resnet_is_an_architecture():
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


def test_a_bottleneck_block_of_densenet_is_an_architecture():
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


def test_a_fractal_block_is_an_architecture():
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
