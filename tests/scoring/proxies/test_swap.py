from __future__ import annotations

import torch
from torch import nn

from smash.scoring.proxies import Subject, Swap


def score(child: nn.Module, images: torch.Tensor) -> float:
    subject = Subject(child=child, stages=[], macs=0)
    (found,) = Swap()(subject, images, torch.Generator())
    return found


# Of three images the first unit is on for the first two, the second for the first, the third for
# the last, and the fourth as the second.
IMAGES = torch.tensor([[1.0, 2.0, -1.0, 9.0], [1.0, -2.0, -1.0, -9.0], [-1.0, -1.0, 5.0, -9.0]])


def test_swap_counts_units_of_one_pattern_once():
    assert score(nn.ReLU(), IMAGES) == 3


def test_swap_counts_patterns_of_all_layers_together():
    negated = nn.Linear(4, 4, bias=False)
    nn.init.eye_(negated.weight).data.neg_()
    again = nn.Sequential(nn.ReLU(), nn.ReLU())
    both = nn.Sequential(negated, nn.ReLU(), negated, nn.Hardtanh(-9, 9))
    assert score(again, IMAGES) == 3
    # -x has the complements 001, 011 and 110, of which the first and the last are known; what is
    # left of them, negated, is on nowhere: 000.
    assert score(both, IMAGES) == 4


def test_swap_agrees_with_sets_of_patterns():
    images = torch.randn(16, 5000, generator=torch.Generator().manual_seed(0))
    expected = len({tuple(column) for column in (images > 0).T.tolist()})
    assert score(nn.ReLU(), images) == expected


def test_swap_uses_the_statistics_of_the_batch():
    norm = nn.BatchNorm2d(2)
    images = 100 + torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    # Without them, all units would be on for all images: one pattern.
    assert score(nn.Sequential(norm, nn.ReLU()).eval(), images) > 1
