from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from smash.scoring.proxies import AzNas, Subject
from smash.scoring.proxies.az_nas import entropy, fold, transfer


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_entropy_is_as_worked_out_by_hand():
    # Two channels that vary apart, one three times as far: variances 9 and 1, so 0.9 and 0.1.
    first = torch.tensor([3.0, -3.0, 3.0, -3.0])
    second = torch.tensor([1.0, 1.0, -1.0, -1.0])
    feature = torch.stack([first, second + 5]).view(1, 2, 2, 2)
    by_hand = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert entropy(feature) == pytest.approx(by_hand)
    # Turned, it is the same; of channels that all vary alike, 0; of a constant, nothing.
    turned = torch.einsum("dc,ncxy->ndxy", torch.tensor([[0.6, -0.8], [0.8, 0.6]]), feature)
    assert entropy(turned) == pytest.approx(by_hand)
    assert entropy(first.view(1, 1, 2, 2).repeat(1, 3, 1, 1)) == pytest.approx(0, abs=1e-9)
    assert math.isnan(entropy(torch.ones(2, 3, 4)))
    assert math.isnan(entropy(torch.full((2, 3, 4), math.nan)))


def test_entropy_agrees_with_numpy():
    feature = torch.randn(5, 4, 3, 3, 3, generator=rng())
    covariance = np.cov(feature.numpy().swapaxes(0, 1).reshape(4, -1))
    shares = np.linalg.eigvalsh(covariance) / np.trace(covariance)
    assert entropy(feature) == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-5)


def test_transfer_of_a_scaling_is_that_of_its_factor():
    before = torch.randn(2000, 1, 2, 2, generator=rng(), requires_grad=True)
    for factor in (0.5, 1.5, -2.0):
        s = abs(factor)  # E[g_in g_out] = factor · E[g_out²] = factor
        assert transfer(before, factor * before, rng()) == pytest.approx(2 - s - 1 / s)


def test_transfer_of_a_channel_mixing_is_that_of_its_largest_singular_value():
    matrix = torch.tensor([[1.0, 2.0], [0.0, 0.5], [1.0, -1.0]])
    before = torch.randn(4000, 2, 2, 2, generator=rng(), requires_grad=True)
    after = torch.einsum("oi,nixy->noxy", matrix, before)
    s = np.linalg.svd(matrix.numpy())[1].max()
    # E[g_out g_outᵀ] is the identity up to noise: 16,000 places.
    assert transfer(before, after, rng()) == pytest.approx(2 - s - 1 / s, abs=0.05)


def test_transfer_of_a_pooling_folds_the_places_of_its_window():
    before = torch.randn(3000, 1, 4, 4, generator=rng(), requires_grad=True)
    after = torch.nn.functional.avg_pool2d(before, 2)
    # Four places get a quarter each: a column of quarters, whose singular value is a half.
    assert transfer(before, after, rng()) == pytest.approx(2 - 0.5 - 2)


def test_transfer_of_an_upsampling_folds_the_other_side():
    before = torch.randn(4000, 1, 2, requires_grad=True, generator=rng())
    after = before.repeat_interleave(2, dim=2)
    # g_in = g_1 + g_2, so E[g_in g] = (1, 1), whose singular value is √2.
    s = math.sqrt(2)
    assert transfer(before, after, rng()) == pytest.approx(2 - s - 1 / s, abs=0.02)


def test_transfer_of_nothing_and_of_an_identity_is_minus_infinity():
    before = torch.randn(3, 2, 4, 4, generator=rng(), requires_grad=True)
    assert transfer(before, 1 * before, rng()) == -math.inf
    assert transfer(before, torch.zeros_like(before), rng()) == -math.inf
    assert transfer(before, 0 * before, rng()) == -math.inf
    other = torch.randn(3, 2, 4, 4, generator=rng(), requires_grad=True)
    assert transfer(before, 2 * other, rng()) == -math.inf


def test_fold_agrees_with_pixel_unshuffle_and_pads():
    values = torch.randn(3, 2, 4, 6, generator=rng())
    folded = fold(values, (2, 2))
    # torch unshuffles by one factor for both axes: (4, 4) and (2, 2).
    square = fold(values[..., :4], (2, 2))
    expected = torch.nn.functional.pixel_unshuffle(values[..., :4], 2)
    assert torch.equal(square.float(), expected.transpose(0, 1).flatten(1))
    assert folded.shape == (2 * 2 * 3, 3 * 2 * 2)
    odd = fold(torch.ones(1, 1, 5), (3,))
    assert odd.tolist() == [[1, 1, 1], [1, 1, 0]]


class Staged(nn.Module):
    """A child whose features can be computed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 2, 1)
        self.second = nn.Conv1d(2, 2, 1)
        self.head = nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.second(self.first(x)).mean(2))


def test_az_nas_values_are_those_of_the_features():
    child = Staged()
    stages = [child.head, child.second, child.first]  # in whatever order they are named
    images = torch.zeros(64, 1, 8)
    found = AzNas()(Subject(child=child, stages=stages, macs=123), images, rng(5))
    noise = torch.randn(64, 1, 8, generator=rng(5))
    first = child.first(noise)
    second = child.second(first)
    entropies = [entropy(each.detach()) for each in (first, second)]
    assert found[0] == pytest.approx(sum(entropies))
    assert found[1] == pytest.approx(entropies[1] - entropies[0])
    s = np.linalg.svd(child.second.weight[..., 0].detach().numpy())[1].max()
    assert found[2] == pytest.approx(2 - s - 1 / s, abs=0.3)
    assert found[3] == 123


@pytest.mark.parametrize("inplace", [False, True])
def test_az_nas_of_a_stage_that_works_in_place_keeps_the_feature_before(inplace):
    child = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(inplace))
    nn.init.kaiming_normal_(child[0].weight, generator=rng())
    subject = Subject(child=child, stages=list(child), macs=1)
    assert math.isfinite(AzNas()(subject, torch.zeros(16, 1, 8), rng(5))[2])


def test_az_nas_of_one_feature_lacks_two_values():
    child = Staged()
    subject = Subject(child=child, stages=[child.first], macs=1)
    found = AzNas()(subject, torch.zeros(4, 1, 8), rng())
    assert [math.isfinite(each) for each in found] == [True, False, False, True]
