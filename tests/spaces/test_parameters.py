import torch
from torch import nn

from smash.spaces.parameters import count_parameters, initialise, without_values


def make_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))


def test_without_values_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    for device in ("meta", "cpu"):
        with without_values(device):
            make_network()
    assert torch.equal(torch.get_rng_state(), before)


def test_without_values_allocates_on_the_device() -> None:
    for device in ("meta", "cpu"):
        with without_values(device):
            network = make_network()
        tensors = [*network.parameters(), *network.buffers()]
        assert {tensor.device.type for tensor in tensors} == {device}
    torch_made = make_network()
    assert [tensor.shape for tensor in tensors] == [
        tensor.shape for tensor in [*torch_made.parameters(), *torch_made.buffers()]
    ]


def test_without_values_sets_constants_of_a_batch_norm() -> None:
    with without_values("cpu"):
        norm = nn.BatchNorm1d(3)
    for name, value in nn.BatchNorm1d(3).state_dict().items():
        assert torch.equal(norm.state_dict()[name], value), name


def test_without_values_ends_with_the_context() -> None:
    with without_values("meta"):
        pass
    assert torch.nn.Linear(2, 2).weight.abs().sum() > 0


def test_initialise_draws_he_weights_from_the_generator() -> None:
    network = nn.Linear(1000, 500)
    initialise(network, torch.Generator().manual_seed(0))
    assert abs(network.weight.std() / (2 / 1000) ** 0.5 - 1) < 0.01
    assert not network.bias.any()
    again = nn.Linear(1000, 500)
    initialise(again, torch.Generator().manual_seed(0))
    assert torch.equal(again.weight, network.weight)


def test_count_parameters_counts_values() -> None:
    assert count_parameters(make_network()) == 8 * 3 * 9 + 8 + 8 + 8 + 2 * 8 + 2
