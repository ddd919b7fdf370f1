from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from smash.scoring.proxies import Subject, Synflow


def score(child: nn.Module, channels: int, size: tuple[int, ...], seed: int = 0) -> float:
    subject = Subject(child=child, stages=[], macs=0)
    images = torch.randn(3, channels, *size, generator=torch.Generator().manual_seed(seed))
    (found,) = Synflow()(subject, images, torch.Generator())
    return found


def with_weights(layer: nn.Module, **values) -> nn.Module:
    with torch.no_grad():
        for name, value in values.items():
            getattr(layer, name).copy_(torch.tensor(value))
    return layer


class Linears(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = with_weights(nn.Linear(2, 2, bias=False), weight=[[1.0, -2.0], [3.0, 0.5]])
        self.second = with_weights(nn.Linear(2, 1), weight=[[-1.0, 4.0]], bias=[0.25])

    def forward(self, x):
        return self.second(F.relu(self.first(x.flatten(1))))


def test_synflow_is_the_sum_over_paths_by_hand():
    # With positive weights, R = 1·(1 + 2) + 4·(3 + 0.5) + 0.25. A layer's Σ θ ∂R/∂θ is the sum over
    # the paths through it: 17 each for the weights of both, 0.25 for the bias.
    assert score(Linears(), 2, (1,)) == pytest.approx(17 + 17 + 0.25)


def test_synflow_skips_normalisations_and_tanh():
    class Dressed(Linears):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(2)
            self.norm.running_mean.fill_(7.0)
            self.layer = nn.LayerNorm(2)

        def forward(self, x):
            first = self.layer(self.norm(self.first(x.flatten(1))))
            return torch.tanh(self.second(torch.tanh(F.relu(first))))

    assert score(Dressed(), 2, (1,)) == pytest.approx(34.25)


@pytest.mark.parametrize("activation", [F.relu6, F.hardtanh, F.hardswish, F.silu, F.gelu, F.elu])
def test_synflow_does_not_bound_or_bend_paths_by_an_activation(activation):
    class Bent(Linears):
        def forward(self, x):
            return self.second(activation(self.first(100 * x.flatten(1))))

    # As by hand above, where every path begins with an input of 100, and only the bias's does not.
    assert score(Bent(), 2, (1,)) == pytest.approx(1700 + 1700 + 0.25)


def test_synflow_of_a_gate_is_a_factor_by_hand():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.path = with_weights(nn.Linear(1, 1, bias=False), weight=[[-2.0]])
            self.gate = with_weights(nn.Linear(1, 1, bias=False), weight=[[3.0]])

        def forward(self, x):
            return torch.tanh(self.path(x)) * torch.sigmoid(self.gate(x))

    # R = 2 σ(3); the path's part is R itself, the gate's 2 · 3 σ(3) (1 - σ(3)).
    open_ = 1 / (1 + math.exp(-3))
    by_hand = 2 * open_ + 2 * 3 * open_ * (1 - open_)
    assert score(Gated(), 1, ()) == pytest.approx(by_hand)


def test_synflow_of_a_convolution_is_as_worked_out_by_hand():
    # 1×1 with weight -3 over 2×2 pixels: R = 12, and so is Σ θ ∂R/∂θ.
    conv = with_weights(nn.Conv2d(1, 1, 1, bias=False), weight=[[[[-3.0]]]])
    assert score(conv, 1, (2, 2)) == pytest.approx(12)


def test_synflow_depends_on_no_image_and_keeps_the_child():
    child = Linears()
    before = {name: value.clone() for name, value in child.state_dict().items()}
    assert score(child, 2, (1,)) == score(child, 2, (1,), seed=1)
    assert all(torch.equal(value, before[name]) for name, value in child.state_dict().items())
    assert all(value.grad is None for value in child.parameters())


def test_synflow_of_deep_children_stays_finite():
    """Products of 60 layers, beyond the range of single precision."""
    layers = [nn.Linear(8, 8, bias=False) for _ in range(60)]
    for layer in layers:
        nn.init.constant_(layer.weight, 2.0)
    # Each layer multiplies by 16; R = 8 · 16⁶⁰, and each layer's sum is R.
    assert score(nn.Sequential(*layers), 1, (8,)) == pytest.approx(60 * 8 * 16.0**60)


def test_synflow_of_a_child_without_parameters_is_zero():
    assert score(nn.Flatten(), 1, (2,)) == 0
