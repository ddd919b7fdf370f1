from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from smash.data import Split, class_weights


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
