import pytest
import torch
from torch import nn

from smash.hypernet.shared import SharedWeights
from smash.spaces.base import corner


def test_forward_takes_leading_channels_and_central_crop():
    shared = SharedWeights(
        {"conv.weight": (3, 2, 5, 5), "conv.bias": (3,)}, lambda name: name, torch.Generator()
    )
    kernel = shared.tensors["conv/weight"]
    with torch.no_grad():
        kernel.copy_(torch.arange(150.0).reshape(3, 2, 5, 5))
    child = nn.ModuleDict({"conv": nn.Conv2d(1, 2, (3, 1), device="meta")})
    given = shared(child)
    # Entry (o, i, y, x) is 50 o + 25 i + 5 y + x; of y the crop takes 1…3, of x the centre 2.
    assert given["conv.weight"].flatten().tolist() == [7, 12, 17, 57, 62, 67]
    assert given["conv.bias"].shape == (2,)
    (given["conv.weight"] * torch.tensor([1.0, 2, 3])[:, None]).sum().backward()
    expected = torch.zeros(3, 2, 5, 5)
    for o in range(2):
        for y, slope in ((1, 1.0), (2, 2.0), (3, 3.0)):
            expected[o, 0, y, 2] = slope
    assert torch.equal(kernel.grad, expected)
    assert shared.tensors["conv/bias"].grad is None


def test_corner_grouped_convolution_takes_fewer_inputs():
    assert corner((64, 128, 7, 7), (16, 8, 3, 5)) == (
        slice(0, 16),
        slice(0, 8),
        slice(2, 5),
        slice(1, 6),
    )


@pytest.mark.parametrize(
    ("whole", "part"), [((4, 4), (5, 4)), ((4, 4), (4,)), ((2, 2, 3), (2, 2, 5))]
)
def test_corner_larger_part_raises(whole, part):
    with pytest.raises(ValueError, match="does not fit"):
        corner(whole, part)


def test_forward_maps_names_and_skips_parameters_without_tensor():
    shared = SharedWeights(
        {"a.weight": (4, 4)}, lambda name: name.replace("b.", "a."), torch.Generator()
    )
    child = nn.ModuleDict({"b": nn.Linear(2, 3, device="meta")})
    given = shared(child)
    assert list(given) == ["b.weight"]
    assert torch.equal(given["b.weight"], shared.tensors["a/weight"][:3, :2])


def test_freeze_norms_keeps_other_tensors_trainable():
    child = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    shapes = {name: tuple(tensor.shape) for name, tensor in child.named_parameters()}
    shared = SharedWeights(shapes, lambda name: name, torch.Generator())
    shared.freeze_norms()
    learned = {name for name, tensor in shared.tensors.items() if tensor.requires_grad}
    assert learned == {"0/weight", "0/bias", "3/weight", "3/bias"}
    assert shared.tensors["1/weight"].tolist() == [1, 1]
    assert shared.tensors["1/bias"].tolist() == [0, 0]


def test_freeze_norms_leaves_activations_trainable_and_biases_of_any_name_begin_at_zero():
    child = nn.ModuleDict({"act": nn.PReLU(3), "gru": nn.GRU(2, 3), "norm": nn.BatchNorm2d(3)})
    shapes = {name: tuple(tensor.shape) for name, tensor in child.named_parameters()}
    shared = SharedWeights(shapes, lambda name: name, torch.Generator())
    shared.freeze_norms()
    assert shared.tensors["act/weight"].requires_grad
    assert not shared.tensors["norm/weight"].requires_grad
    assert not shared.tensors["gru/bias_ih_l0"].any()
