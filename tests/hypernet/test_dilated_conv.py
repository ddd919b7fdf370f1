from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from smash.hypernet.dilated_conv import phases, quicken, weight_gradient
from smash.spaces.layers import convolution

CASES = [
    # inputs, outputs, groups, kernel, dilation, size
    (2, 3, 1, (3,), (2,), (9,)),
    (4, 4, 2, (3, 5), (3, 1), (8, 9)),
    (4, 6, 2, (5, 3), (2, 3), (10, 8)),
    (2, 2, 1, (3, 3, 3), (1, 2, 3), (8, 8, 9)),
]


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_phases_are_the_places_of_equal_remainder():
    x = torch.arange(7.0).view(1, 1, 7)
    assert phases(x, (3,))[:, 0].tolist() == [[0, 3, 6], [1, 4, 0], [2, 5, 0]]
    plane = torch.arange(12.0).view(1, 1, 3, 4)
    assert phases(plane, (1, 2))[:, 0].tolist() == [
        [[0, 2], [4, 6], [8, 10]],
        [[1, 3], [5, 7], [9, 11]],
    ]


@pytest.mark.parametrize(("inputs", "outputs", "groups", "kernel", "dilation", "size"), CASES)
def test_the_gradient_is_that_of_torch(inputs, outputs, groups, kernel, dilation, size):
    padding = [d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True)]
    x, gradient = draw(3, inputs, *size), draw(3, outputs, *size, seed=1)
    weight = draw(outputs, inputs // groups, *kernel, seed=2).requires_grad_()
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(size)]
    convolve(x, weight, None, 1, padding, dilation, groups).backward(gradient)
    found = weight_gradient(x, tuple(weight.shape), gradient, dilation, groups)
    torch.testing.assert_close(found, weight.grad)


@pytest.mark.parametrize(("inputs", "outputs", "groups", "kernel", "dilation", "size"), CASES)
def test_a_quickened_layer_computes_the_same(inputs, outputs, groups, kernel, dilation, size):
    plain = convolution(inputs, outputs, kernel, dilation=dilation, groups=groups)
    plain = plain.double()
    with torch.no_grad():
        plain.weight.copy_(draw(*plain.weight.shape))
    quick = copy.deepcopy(plain)
    quicken(quick)
    gradients = []
    for layer in (plain, quick):
        x = draw(2, inputs, *size, seed=1).requires_grad_()
        y = layer(x)
        y.backward(draw(*y.shape, seed=2))
        gradients.append((y.detach(), x.grad, layer.weight.grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert torch.equal(gradients[0][1], gradients[1][1])
    torch.testing.assert_close(gradients[0][2], gradients[1][2])
    assert "_Dilated" in type(y.grad_fn).__name__


def test_it_is_the_same_child_to_whoever_keeps_it():
    layer = convolution(2, 2, (3, 3), dilation=2)
    before = list(layer.state_dict())
    quicken(layer)
    assert list(layer.state_dict()) == before
    assert type(layer)._conv_forward is nn.Conv2d._conv_forward
    with torch.no_grad():
        assert layer(torch.ones(1, 2, 9, 9)).grad_fn is None


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 2, 3),
        nn.Conv2d(2, 2, 3, dilation=2, bias=False),  # without padding
        nn.Conv2d(2, 2, 3, dilation=2, padding=2),  # with a bias
        nn.Conv2d(2, 2, 3, dilation=2, padding=2, stride=2, bias=False),
        nn.Conv2d(2, 2, 3, dilation=2, padding="same", bias=False),
        nn.BatchNorm2d(2),
    ],
)
def test_others_are_left_alone(layer):
    quicken(layer)
    assert "_conv_forward" not in vars(layer)
