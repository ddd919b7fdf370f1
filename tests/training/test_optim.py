"""What a recipe adds, against answers worked out by hand and torch's own."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from smash.spaces import Task
from smash.spaces.baselines import make_baseline
from smash.training.optim import (
    RECIPES,
    Recipe,
    averaged,
    learning_rate,
    mix,
    parameter_groups,
    weighted_loss,
)

PUBLISHED, MODERN = RECIPES["published"], RECIPES["modern"]


def test_the_published_rate_is_torchs_cosine():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate(PUBLISHED, 0.1, step, 20) == pytest.approx(expected)
        optimizer.step()
        schedule.step()


def test_a_warm_up_rises_in_a_line_to_the_largest_rate():
    rates = [learning_rate(Recipe(warmup=0.15), 0.1, step, 20) for step in range(20)]
    # Three steps up, a quarter of the way each, then a cosine over the other 17.
    assert rates[:5] == pytest.approx(
        [0.025, 0.05, 0.075, 0.1, 0.05 * (1 + math.cos(math.pi / 17))]
    )
    assert 0 < rates[-1] < 0.001
    assert learning_rate(MODERN, 0.1, 0, 1) > 0


def test_norms_and_biases_do_not_decay():
    network = make_baseline("resnet-8-2", Task(channels=1, size=(8, 8), classes=3))
    decaying, others = parameter_groups(MODERN, network, 0.01)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = {names[id(parameter)] for parameter in decaying["params"]}
    assert decaying["weight_decay"] == 0.01
    assert found == {
        name for name in names.values() if "conv" in name or name.endswith(("m.weight", "r.weight"))
    } - {"norm.weight"}
    assert others["weight_decay"] == 0
    assert len(found) + len(others["params"]) == len(names)
    (all_of_them,) = parameter_groups(PUBLISHED, network, 0.01)
    assert len(all_of_them["params"]) == len(names)


def test_a_batch_is_mixed_pairwise():
    images = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6)  # so that a label says which example it is
    mixed = mix(images, labels, 0.2, np.random.default_rng(1))
    assert 0 < mixed.share < 1
    assert sorted(mixed.others.tolist()) == labels.tolist()
    for row, other in enumerate(mixed.others):
        expected = mixed.share * images[row] + (1 - mixed.share) * images[other]
        torch.testing.assert_close(mixed.images[row], expected)
    # The mean of |share − ½| under Beta(α, α): most batches are hardly mixed.
    shares = [mix(images, labels, 0.2, np.random.default_rng(n)).share for n in range(400)]
    drawn = np.random.default_rng(0).beta(0.2, 0.2, 100_000)
    assert np.abs(np.array(shares) - 0.5).mean() == pytest.approx(
        np.abs(drawn - 0.5).mean(), abs=0.02
    )


def test_averages_are_those_of_the_formula():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = averaged(model, 0.5)
    expected: dict[str, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(0)
    for count in range(6):
        with torch.no_grad():
            for value in model.state_dict().values():
                if value.is_floating_point():
                    value.copy_(torch.randn(value.shape, generator=generator))
        model[1].num_batches_tracked.fill_(count)
        average.update_parameters(model)
        decay = min(0.5, (1 + count) / (10 + count))
        for name, value in copy.deepcopy(model.state_dict()).items():
            kept = expected.get(name, value)
            expected[name] = decay * kept + (1 - decay) * value if count else value
    expected["1.num_batches_tracked"] = torch.tensor(5)
    for name, value in average.module.state_dict().items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 1.0])])
def test_smoothed_labels_are_spread_over_all_classes(weights):
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 2, 1, 1, 0])
    target = 0.7 * F.one_hot(labels, 3) + 0.3 / 3
    losses = -(target * logits.log_softmax(1)).sum(1)
    expected = (losses if weights is None else losses * weights[labels]).mean()
    torch.testing.assert_close(weighted_loss(logits, labels, weights, 0.3), expected)
