from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from smash.data import Split, class_weights, epoch_order, training_batch
from smash.data.batches import batches
from tests.data.conftest import split_of_views


def numbered(n: int) -> Split:
    return Split(torch.arange(n)[:, None, None].float(), torch.arange(n))


def test_batches_cover_the_split_in_order():
    labels = [batch.labels.tolist() for batch in batches(numbered(7), 3)]
    assert labels == [[0, 1, 2], [3, 4, 5], [6]]


def test_batches_follow_an_order_which_may_be_a_part():
    found = list(batches(numbered(7), 2, torch.tensor([6, 0, 3])))
    assert [batch.labels.tolist() for batch in found] == [[6, 0], [3]]
    assert [batch.images.flatten().tolist() for batch in found] == [[6, 0], [3]]


def test_epoch_order_is_a_permutation_of_seed_and_epoch_alone():
    order = epoch_order(100, seed=3, epoch=5)
    torch.rand(3)
    assert torch.equal(order, epoch_order(100, seed=3, epoch=5))
    assert order.sort().values.tolist() == list(range(100))
    assert epoch_order(100, 3, 5, torch.device("meta")).device.type == "meta"
    others = [epoch_order(100, 5, 3), epoch_order(100, 3, 6), epoch_order(100, 4, 5)]
    assert not any(torch.equal(order, other) for other in others)


def test_training_batch_has_a_random_view_of_each_example():
    split, order = split_of_views(1000, 3), torch.arange(1000).flip(0)
    batch = training_batch(split, order, seed=1, step=2)
    assert batch.views == 1
    assert torch.equal(batch.labels, order)
    example, view = (batch.images.flatten() // 10, batch.images.flatten() % 10)
    assert torch.equal(example, order)
    # Binomial with n = 1000 and p = 1/3: 5 standard deviations are 75.
    assert all(abs(count - 1000 / 3) < 75 for count in torch.bincount(view).tolist())

    torch.rand(3)
    assert torch.equal(batch.images, training_batch(split, order, seed=1, step=2).images)
    for seed, step in ((2, 2), (1, 3)):
        assert not torch.equal(batch.images, training_batch(split, order, seed, step).images)


def test_training_batch_of_one_view_is_its_examples():
    batch = training_batch(numbered(7), torch.tensor([6, 0, 3]), seed=0, step=0)
    assert batch.images.flatten().tolist() == [6, 0, 3]


def test_class_weights_equal_scikit_learn_with_mean_one(digits):
    labels = torch.tensor([0] * 50 + [1] * 5 + [2] * 20 + list(range(10)))
    data = replace(digits, train=Split(torch.zeros(len(labels), 1, 8, 8), labels))
    weights = class_weights(data)
    expected = compute_class_weight("balanced", classes=np.arange(10), y=labels.numpy())
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert weights.dtype == torch.float32
    assert float(weights[labels].mean()) == pytest.approx(1)
    for label in range(10):
        share = float(weights[labels][labels == label].sum()) / len(labels)
        assert share == pytest.approx(1 / 10)
