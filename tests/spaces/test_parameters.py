from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
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


def test_without_values_allocates_on_the_device_what_torch_does() -> None:
    expected = make_network().state_dict(keep_vars=True)
    for device in ("meta", "cpu"):
        with without_values(device):
            found = make_network().state_dict(keep_vars=True)
        assert list(found) == list(expected)
        for name, tensor in found.items():
            assert tensor.device.type == device, name
            assert tensor.shape == expected[name].shape, name
            assert tensor.dtype == expected[name].dtype, name
            assert type(tensor) is type(expected[name]), name
            assert tensor.requires_grad == expected[name].requires_grad, name


@pytest.mark.parametrize(
    ("layer", "args", "settings"),
    [
        (nn.Conv1d, (4, 8, 3), {"padding": 1, "groups": 2, "bias": False}),
        (nn.Conv2d, (4, 8, (3, 5)), {"stride": 2, "padding": "valid"}),
        (nn.Conv2d, (4, 8, [3, 5]), {}),  # a list is no key of a cache
        (nn.Conv3d, (4, 8, 1), {"padding_mode": "circular"}),
        (nn.BatchNorm1d, (4,), {}),
        (nn.BatchNorm2d, (4,), {"affine": False, "momentum": None}),
        (nn.BatchNorm3d, (4,), {"track_running_stats": False}),
        (nn.Linear, (4, 8), {"bias": False, "dtype": torch.float64}),
    ],
)
def test_without_values_layer_met_before_is_a_layer_of_its_own(
    layer: type[nn.Module], args: tuple[object, ...], settings: dict[str, object]
) -> None:
    expected = layer(*args, **settings)
    with without_values("meta"):
        before, found = layer(*args, **settings), layer(*args, **settings)
    of_any = vars(nn.Module())
    theirs, own = (
        {name: value for name, value in vars(each).items() if name not in of_any}
        for each in (expected, found)
    )
    assert own == theirs
    for kind in ("_parameters", "_buffers"):
        for name, tensor in vars(expected)[kind].items():
            ours = vars(found)[kind][name]
            assert (ours is None) == (tensor is None), name
            if tensor is not None:
                assert ours is not vars(before)[kind][name], name
                assert (type(ours), ours.is_meta) == (type(tensor), True), name
                assert (ours.shape, ours.dtype) == (tensor.shape, tensor.dtype), name
    found.eval().register_forward_hook(lambda *_: None)
    assert before.training
    assert not before._forward_hooks


def test_without_values_makes_layers_on_a_device_of_their_own() -> None:
    with without_values("meta"):
        layers = [nn.Linear(4, 2, device="cpu") for _ in range(2)]
    assert is_drawn(nn.Sequential(*layers))
    assert not torch.equal(layers[0].weight, layers[1].weight)


def test_without_values_wrong_argument_raises_as_torch_does() -> None:
    with without_values("meta"), pytest.raises(TypeError, match="unexpected keyword"):
        nn.Linear(4, 2, biased=True)  # type: ignore[call-arg]


def test_without_values_sets_constants_of_a_batch_norm() -> None:
    with without_values("cpu"):
        norm = nn.BatchNorm1d(3)
    for name, value in nn.BatchNorm1d(3).state_dict().items():
        assert torch.equal(norm.state_dict()[name], value), name


class Scaled(nn.Linear):
    """A layer of a user, with parameters and initial values of its own."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.scale = nn.Parameter(torch.randn(4))
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.attention = nn.MultiheadAttention(4, 2)
        nn.init.trunc_normal_(self.scale)
        nn.init.constant_(self.scale, 0.5)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.orthogonal_(self.weight)
        nn.init.zeros_(self.bias)


def test_without_values_builds_layers_with_initialisers_of_their_own() -> None:
    with without_values("meta"):
        layer = Scaled()
    assert {tensor.device.type for tensor in layer.state_dict().values()} == {"meta"}
    assert not Scaled().bias.any()


def make_drawn() -> nn.Module:
    return nn.Sequential(nn.Conv1d(3, 4, 1), nn.Linear(3, 4))


def is_drawn(network: nn.Module) -> bool:
    return all(
        0 < p.abs().max() <= 3**-0.5 and p.unique().numel() > 1 for p in network.parameters()
    )


def test_without_values_ends_with_the_context() -> None:
    for device in ("meta", "cpu"):
        with without_values(device):
            make_network()
        assert is_drawn(make_drawn())


def test_without_values_ends_where_building_fails() -> None:
    for device in ("meta", "cpu"):
        with pytest.raises(ValueError, match="divisible"), without_values(device):
            nn.Conv2d(3, 4, 1, groups=2)
        assert is_drawn(make_drawn())


def test_without_values_concerns_its_own_thread_alone() -> None:
    with ThreadPoolExecutor(1) as pool:
        for device in ("meta", "cpu"):
            with without_values(device):
                assert is_drawn(pool.submit(make_drawn).result())


def test_initialise_draws_he_weights_from_the_generator() -> None:
    network = nn.Linear(1000, 500)
    initialise(network, torch.Generator().manual_seed(0))
    assert abs(network.weight.std() / (2 / 1000) ** 0.5 - 1) < 0.01
    assert not network.bias.any()
    again = nn.Linear(1000, 500)
    initialise(again, torch.Generator().manual_seed(0))
    assert torch.equal(again.weight, network.weight)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.GRU(3, 4),
        lambda: nn.MultiheadAttention(4, 2),
        lambda: nn.ConvTranspose2d(3, 4, 3),
        lambda: nn.Embedding(5, 3),
        lambda: nn.PReLU(3),
    ],
)
def test_initialise_draws_all_that_building_left_out(make: Callable[[], nn.Module]) -> None:
    states = []
    for garbage in (float("nan"), 1e30):
        network = make()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(garbage)
        before = torch.get_rng_state()
        initialise(network, torch.Generator().manual_seed(0))
        assert torch.equal(torch.get_rng_state(), before)
        states.append({name: value.clone() for name, value in network.state_dict().items()})
    first, again = states
    assert all(value.isfinite().all() and value.abs().max() < 10 for value in first.values())
    assert all(torch.equal(value, again[name]) for name, value in first.items())


class Positions(nn.Module):
    """Parameters of no layer, drawn in the ways that people draw them."""

    def __init__(self, draw: Callable[[], nn.Parameter]) -> None:
        super().__init__()
        self.positions = draw()
        self.head = nn.Linear(4, 2)


def of_empty() -> nn.Parameter:
    parameter = nn.Parameter(torch.empty(50, 4))
    nn.init.trunc_normal_(parameter, std=0.02)
    return parameter


def of_random() -> nn.Parameter:
    return nn.Parameter(0.02 * torch.randn(50, 4))


def of_data() -> nn.Parameter:
    parameter = nn.Parameter(torch.empty(50, 4))
    parameter.data.normal_(0, 0.02)
    return parameter


@pytest.mark.parametrize("draw", [of_empty, of_random, of_data])
def test_parameters_of_no_layer_have_the_values_that_were_drawn(
    draw: Callable[[], nn.Parameter],
) -> None:
    before = torch.get_rng_state()
    built = []
    for _ in range(2):
        with without_values("cpu"):
            network = Positions(draw)
        initialise(network, torch.Generator().manual_seed(0))
        built.append(network)
    assert torch.equal(torch.get_rng_state(), before)
    first, again = (network.positions.detach() for network in built)
    assert torch.equal(first, again)
    assert 0.017 < first.std() < 0.023
    assert first.abs().max() < 0.1


def test_count_parameters_counts_values() -> None:
    assert count_parameters(make_network()) == 8 * 3 * 9 + 8 + 8 + 8 + 2 * 8 + 2
