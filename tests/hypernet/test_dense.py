from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from smash.hypernet.autograd import dense_group


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer_by_layer(x, weights):
    for weight in weights:
        given = F.conv2d(x, weight / weight.norm(), padding=1)
        x = torch.cat([x, F.leaky_relu(given, 0.02)], dim=1)
    return x


@pytest.mark.parametrize(("inputs", "growth", "layers"), [(3, 2, 4), (5, 3, 1)])
def test_equals_layer_by_layer_with_gradients(inputs, growth, layers):
    results = []
    for compute in (dense_group, layer_by_layer):
        x = draw(1, inputs, 4, 5).requires_grad_()
        weights = [
            draw(growth, inputs + growth * i, 3, 3, seed=i + 1).requires_grad_()
            for i in range(layers)
        ]
        y = compute(x, weights)
        y.backward(draw(*y.shape, seed=9))
        results.append([y.detach(), x.grad, *(weight.grad for weight in weights)])
    assert results[0][0].shape == (1, inputs + growth * layers, 4, 5)
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
