import pytest
import torch

from smash.hypernet import SmashNetwork
from smash.spaces import MemoryBankSpace, Task
from smash.spaces.memory_bank import Block
from tests.spaces.cases import (
    OPTIONS,
    architecture,
    images_of,
    op,
    randomise,
    rng_of,
    task_of,
)


def network_of(name: str) -> SmashNetwork:
    options = OPTIONS[name]
    network = SmashNetwork(MemoryBankSpace(options), task_of(options))
    randomise(network, 0)
    return network


@pytest.mark.parametrize("name", OPTIONS)
def test_forward_generated_weights_have_shape_and_norm_one(name):
    network = network_of(name)
    arch = network.space.sample(rng_of(3))
    child = network.space.build(arch, network.task)
    with torch.no_grad():
        weights = network.source(arch, child)
    expected = {key: tuple(value.shape) for key, value in child.named_parameters()}
    assert {key: tuple(value.shape) for key, value in weights.items()} == expected
    generated = [key for key in weights if key.endswith("project.weight")]
    assert len(generated) == sum(len(block.ops) for block in arch.blocks)
    for key in generated:
        assert weights[key].norm().item() == pytest.approx(1, abs=1e-5), f"seed 3: {key}"


def test_forward_widest_projection_has_enough_columns():
    """Reads of twice N_max and outputs of N_max: 1×1 as wide as max_bottleneck · N_max."""
    options = OPTIONS["tiny"].replaced(width=4, max_width=32)
    space, task = MemoryBankSpace(options), Task(channels=2, size=(8, 8), classes=3)
    wide = Block(1, (op(tuple(range(8)), tuple(range(4)), 4),))
    arch = architecture(wide, *space.smallest().blocks[1:])
    assert space.from_json(space.to_json(arch)) == arch
    network = SmashNetwork(space, task)
    child = space.build(arch, task)
    weight = network.source(arch, child)["blocks.0.ops.0.project.weight"]
    assert tuple(weight.shape) == (2 * 32, 64, 1, 1)
    assert weight.flatten(1).norm(dim=1).min() > 0
    assert torch.linalg.matrix_rank(weight.flatten(1).detach()) > 32  # no column is repeated


def test_training_step_keeps_no_state_and_reaches_every_weight():
    network = network_of("op-norm")
    arch, images = network.space.sample(rng_of(4)), images_of(network.task, 4)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    first = network.train()(arch, images)
    first.square().sum().backward()
    assert torch.equal(network(arch, images), first)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    for key, parameter in network.source.hypernetwork.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.norm() > 0, key


def test_training_step_uses_batch_statistics():
    network = network_of("all-variable")
    arch, images = network.space.sample(rng_of(5)), images_of(network.task, 5)
    child = network.space.build(arch, network.task, "cpu")
    child.load_state_dict(network.state(arch, images_of(network.task, 6)))
    with torch.no_grad():
        torch.testing.assert_close(network(arch, images), child.train()(images))


def test_training_step_leaves_earlier_states():
    network = network_of("tiny")
    arch, images = network.space.sample(rng_of(6)), images_of(network.task, 6)
    state = network.state(arch, images)
    before = {key: value.clone() for key, value in state.items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network(arch, images).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(before[key], state[key]) for key in before)


def test_network_depends_on_the_seed_only():
    space, task = MemoryBankSpace(OPTIONS["tiny"]), task_of(OPTIONS["tiny"])
    first, second, other = (SmashNetwork(space, task, seed=seed) for seed in (1, 1, 2))
    arch, images = space.sample(rng_of(7)), images_of(task, 7)
    torch.rand(3)
    assert torch.equal(first(arch, images), first(arch, images))
    assert torch.equal(first(arch, images), second(arch, images))
    assert not torch.equal(first(arch, images), other(arch, images))


def test_hypernetwork_filters_are_divided_by_their_norm():
    network = network_of("tiny")
    arch, images = network.space.sample(rng_of(8)), images_of(network.task, 8)
    before = network(arch, images)
    with torch.no_grad():
        for parameter in network.source.hypernetwork.parameters():
            parameter *= 3
    torch.testing.assert_close(network(arch, images), before, rtol=1e-4, atol=1e-4)
