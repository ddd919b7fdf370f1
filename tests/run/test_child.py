from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, recall_score
from torch import nn

from smash.evaluation import confusion, evaluate


@pytest.fixture
def found(digits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    predicted = model(digits.normalise(digits.test.images)).argmax(1).numpy()
    return evaluate(model, digits.test, digits, "test"), predicted


def test_evaluate_gives_confusion_and_recall_of_scikit_learn(found, digits):
    evaluation, predicted = found
    labels = digits.test.labels.numpy()
    np.testing.assert_array_equal(
        evaluation.confusion, confusion_matrix(labels, predicted, labels=range(10))
    )
    np.testing.assert_allclose(
        evaluation.recall, recall_score(labels, predicted, average=None), rtol=1e-6
    )


def test_confusion_has_classes_as_rows_and_predictions_as_columns():
    counts = confusion(torch.tensor([0, 0, 2, 2, 2]), torch.tensor([0, 1, 2, 0, 0]), 4)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [2, 0, 1, 0], [0, 0, 0, 0]]


def test_evaluation_stored_leaves_out_a_large_confusion(found):
    evaluation, _ = found
    stable = ["split", "examples", "error", "top5_error", "macro_f1", "loss"]
    assert list(evaluation.model_dump()) == [*stable, "recall", "confusion"]
    assert evaluation.stored() == evaluation
    many = evaluation.model_copy(update={"confusion": [[0] * 101] * 101})
    assert many.stored().confusion == []
