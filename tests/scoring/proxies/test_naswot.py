from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from smash.scoring.proxies import Naswot, Subject


def score(child: nn.Module, images: torch.Tensor) -> float:
    subject = Subject(child=child, stages=[], macs=0)
    (found,) = Naswot()(subject, images, torch.Generator())
    return found


class OneLayer(nn.Module):
    """Three units, as a function, as a method, in place, or as a module."""

    def __init__(self, relu):
        super().__init__()
        self.relu = relu

    def forward(self, x):
        return self.relu(1.0 * x).sum(1)


# Codes 110, 100 and 001: agreeing units 3 2 0, 2 3 1, 0 1 3 (both on or both off).
IMAGES = torch.tensor([[1.0, 2.0, -1.0], [1.0, -2.0, -1.0], [-1.0, -1.0, 5.0]])
BY_HAND = math.log(3 * (9 - 1) - 2 * (6 - 0))


@pytest.mark.parametrize(
    "relu",
    [
        F.relu,
        torch.relu,
        torch.Tensor.relu,
        torch.Tensor.relu_,
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.LeakyReLU(),
        nn.ReLU6(),
        nn.ELU(),
        nn.GELU(),
        nn.Hardswish(),
        nn.SiLU(),
    ],
    ids=lambda relu: getattr(relu, "__name__", repr(relu)),
)
def test_naswot_kernel_is_as_counted_by_hand(relu):
    assert score(OneLayer(relu), IMAGES) == pytest.approx(BY_HAND)


def test_naswot_counts_units_of_all_layers():
    child = nn.Sequential(nn.ReLU(), nn.ReLU())  # the second sees 0 where the first is off
    found = score(child, IMAGES)
    assert found == pytest.approx(BY_HAND + 3 * math.log(2))  # K is twice as large


def test_naswot_of_equal_codes_is_minus_infinity():
    assert score(nn.ReLU(), IMAGES.sign().repeat(2, 1)) == -math.inf


def test_naswot_uses_the_statistics_of_the_batch():
    norm = nn.BatchNorm2d(2)
    images = 100 + torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    child = nn.Sequential(norm, nn.ReLU()).eval()
    # Without them, all units would be on for all images.
    assert math.isfinite(score(child, images))
