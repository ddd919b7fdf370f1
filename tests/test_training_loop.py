from __future__ import annotations

import numpy as np
import pytest
import torch

import smash
from smash.training_loop import weighted_loss
from tests.conftest import TINY


def test_a_weighted_loss_is_a_mean_over_examples():
    logits = torch.tensor([[0.0, 0.0], [0.0, np.log(3)], [0.0, np.log(3)]])
    labels, weights = torch.tensor([0, 1, 0]), torch.tensor([2.0, 0.5])
    by_hand = (2 * np.log(2) + 0.5 * np.log(4 / 3) + 2 * np.log(4)) / 3
    assert float(weighted_loss(logits, labels, weights)) == pytest.approx(by_hand)
    without = (np.log(2) + np.log(4 / 3) + np.log(4)) / 3
    assert float(weighted_loss(logits, labels, None)) == pytest.approx(without)


@pytest.mark.parametrize("rare", [30, 6])
def test_class_weights_matter_where_classes_are_unequal(tmp_path, rare):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    labels = np.r_[np.zeros(60 - rare, int), np.ones(rare, int)]
    data = smash.load_data((images, labels))
    losses = [
        smash.train(
            data, tmp_path / str(on), epochs=2, batch_size=10, class_weights=on, **TINY
        ).metrics.rows()[-1]["train_loss"]
        for on in (False, True)
    ]
    counts = torch.bincount(data.train.labels)
    if counts[0] == counts[1]:
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    else:
        assert losses[0] != pytest.approx(losses[1], rel=1e-2)
