from __future__ import annotations

import numpy as np
import pytest
import torch

from smash.errors import InvalidValueError
from smash.hypernet import SmashNetwork
from smash.spaces import MemoryBankSpace, Task
from smash.spaces.memory_bank import Gate
from tests.spaces.cases import OPTIONS

# The published sizes take a second each; the options that differ from them are all here.
NAMES = [name for name in OPTIONS if name not in ("original", "v1", "v2")]


def network_of(name: str, hypernet: str = "convolutional") -> SmashNetwork:
    options = OPTIONS[name]
    task = Task(channels=2, size=(8,) * options.dims, classes=3)
    network = SmashNetwork(MemoryBankSpace(options), task, hypernet)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # so that no norm is the identity and no bias is 0
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def images_of(network: SmashNetwork, seed: int, n: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, network.task.channels, *network.task.size, generator=generator)


@pytest.mark.parametrize("hypernet", ["convolutional", "none"])
@pytest.mark.parametrize("name", NAMES)
def test_child_equals_the_built_child(name, hypernet):
    network = network_of(name, hypernet)
    for seed in range(2):
        architecture = network.space.sample(np.random.default_rng(seed))
        state = network.state(architecture, images_of(network, 0))
        images = images_of(network, 1)
        child = network.space.build(architecture, network.task, "cpu")
        child.load_state_dict(state)
        with torch.no_grad():
            scored = network.child(architecture, state)(images)
            assert torch.equal(child.eval()(images), scored), f"{name}, seed {seed}"
            assert scored.std() > 0


@pytest.mark.parametrize("name", [name for name in NAMES if OPTIONS[name].gates])
def test_child_with_every_gate_equals_the_built_child(name):
    network, rng = network_of(name), np.random.default_rng(0)
    left = {Gate(j, s) for j in ("first", "second") for s in ("multiply", "split")}
    for _ in range(300):
        architecture = network.space.sample(rng, 0.0)
        here = {op.gate for block in architecture.blocks for op in block.ops}
        if not here & left:
            continue
        left -= here
        state = network.state(architecture, images_of(network, 0))
        child = network.space.build(architecture, network.task, "cpu")
        child.load_state_dict(state)
        images = images_of(network, 1)
        with torch.no_grad():
            scored = network.child(architecture, state)(images)
            assert torch.equal(child.eval()(images), scored), architecture
            assert scored.std() > 0
            trained = network(architecture, images)
            torch.testing.assert_close(child.train()(images), trained)
    assert not left


def test_state_has_statistics_of_the_calibration_batch():
    network = network_of("small")
    architecture = network.space.sample(np.random.default_rng(0))
    images = images_of(network, 0)
    state = network.state(architecture, images)
    child = network.space.build(architecture, network.task, "cpu")
    child.load_state_dict(state)
    seen = []
    child.blocks[0].ops[0].norm.register_forward_hook(lambda _, args, output: seen.append(args[0]))
    child.train()(images)
    mean, var = seen[0].mean((0, 2, 3)), seen[0].var((0, 2, 3), unbiased=True)
    torch.testing.assert_close(state["blocks.0.ops.0.norm.running_mean"], mean)
    torch.testing.assert_close(state["blocks.0.ops.0.norm.running_var"], var)


def test_state_does_not_depend_on_earlier_calls():
    network = network_of("grid-var")
    rng = np.random.default_rng(0)
    first, second = network.space.sample(rng), network.space.sample(rng)
    images = images_of(network, 0)
    before = network.state(first, images)
    network.state(second, images_of(network, 2))
    network(second, images_of(network, 3))
    after = network.state(first, images)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_network_unknown_hypernet_suggests_a_name():
    network = network_of("tiny")
    with pytest.raises(InvalidValueError, match="did you mean 'convolutional'"):
        SmashNetwork(network.space, network.task, "convolutionel")


@pytest.mark.parametrize("name", ["small", "grid-var", "op-norm", "gates"])
def test_source_generated_weights_follow_the_layout(name):
    network = network_of(name)
    options = OPTIONS[name]
    architecture = network.space.sample(np.random.default_rng(5))
    child = network.space.build(architecture, network.task)
    source = network.source
    weights = source(architecture, child)
    code = source.encoding.encode(architecture)
    noise = source.noise[None, :, : code.shape[2]]
    values = source.hypernetwork(torch.cat([noise, code])[None])[0]
    N, rows = options.bank_width, options.bank_width * options.depth_compression
    for place in source.encoding.places(architecture):
        weight = weights[place.parameter]
        outputs, inputs = weight.shape[:2]
        assert inputs == (place.stop - place.start) * rows
        expected = torch.empty(outputs, inputs)
        for column in range(outputs):
            m, rest = divmod(column, options.max_outputs * N)
            k, o = divmod(rest, N)
            for row in range(inputs):
                s, i = divmod(row, rows)
                expected[column, row] = values[(m * N + o) * rows + i, k, place.start + s]
        expected /= expected.norm()
        torch.testing.assert_close(weight.flatten(1), expected)


@pytest.mark.parametrize("hypernet", ["convolutional", "low-rank"])
def test_slope_equals_the_finite_difference(hypernet):
    space = MemoryBankSpace(OPTIONS["grid-var"])
    task = Task(channels=2, size=(8, 8), classes=3)
    network = SmashNetwork(space, task, hypernet, seed=5).double()
    with torch.no_grad():  # a hypernetwork whose changes are zero has a slope of zero
        for parameter in network.parameters():
            generator = torch.Generator().manual_seed(parameter.numel())
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.double)
            parameter.add_(0.05 * noise)
    generator = torch.Generator().manual_seed(6)
    images = torch.randn(6, 2, 8, 8, generator=generator, dtype=torch.double)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    rng = np.random.default_rng(7)
    base = space.sample(rng)
    slope = network.slope(base, images, labels)
    assert slope(base) == 0
    source = network.source
    child = network.batch_child(base)

    def loss(code):
        weights = source(base, child, code)
        logits = torch.func.functional_call(child, weights, (images,))
        return torch.nn.functional.cross_entropy(logits, labels).item()

    for _ in range(5):
        other = space.mutate(base, rng, 0.1)
        code, difference = (
            tensor.double()
            for tensor in (source.encoding.encode(base), source.encoding.difference(base, other))
        )
        step = 1e-7  # small: ReLUs have kinks
        expected = (loss(code + step * difference) - loss(code - step * difference)) / (2 * step)
        assert slope(other) == pytest.approx(expected, rel=1e-3, abs=1e-7), "seed 7"


def test_slope_plain_sharing_raises():
    space = MemoryBankSpace(OPTIONS["tiny"])
    network = SmashNetwork(space, Task(channels=1, size=(8, 8), classes=2), "none")
    with pytest.raises(InvalidValueError, match="needs a hypernetwork"):
        network.slope(space.smallest(), torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))
