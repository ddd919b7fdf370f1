"""Errors and confusion, and examples in several views from training to evaluation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score, recall_score
from torch import nn

import smash
from smash.data import Split
from smash.evaluation import (
    confusion,
    error_of,
    evaluate,
    expected_error_of,
    macro_f1,
    misses,
    over_views,
)
from smash.scoring.scorer import Scorer
from tests.conftest import TINY


def in_views(split: Split, *others: torch.Tensor) -> Split:
    """A split whose examples have more views behind their own."""
    views = torch.stack([split.images, *others], dim=1)
    return Split(views.flatten(0, 1), split.labels, views.shape[1])


def noise(split: Split, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(256, split.images.shape, generator=rng, dtype=torch.uint8)


@pytest.fixture(scope="module")
def small(digits):
    """A few digits, and the same with noise as a second view."""
    few = torch.arange(60)
    plain = replace(
        digits,
        train=digits.train.subset(few),
        val=digits.val.subset(few),
        test=digits.test.subset(few),
    )
    splits = {
        name: in_views(split, noise(split, seed))
        for seed, (name, split) in enumerate(
            {"train": plain.train, "val": plain.val, "test": plain.test}.items()
        )
    }
    return plain, replace(plain, **splits)


def test_evaluate_averages_the_probabilities_of_all_views(digits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    split = digits.test.subset(torch.arange(200))
    examples = in_views(split, noise(split, 0), split.images.flip(-1))
    found = evaluate(model, examples, digits, "test")

    weight, bias = (parameter.detach().double().numpy() for parameter in model.parameters())
    pixels = examples.images.double().numpy().reshape(200, 3, 64) / 255
    logits = (pixels - digits.mean[0]) / digits.std[0] @ weight.T + bias
    odds = np.exp(logits)
    mean = (odds / odds.sum(2, keepdims=True)).mean(1)
    labels = examples.labels.numpy()
    own = mean[np.arange(200), labels]
    assert found.examples == 200
    assert found.error == pytest.approx(float((mean.argmax(1) != labels).mean()))
    assert found.expected_error == pytest.approx(float((1 - own).mean()), rel=1e-5)
    assert found.top5_error == pytest.approx(float(((mean > own[:, None]).sum(1) >= 5).mean()))
    assert found.loss == pytest.approx(float(-np.log(own).mean()), rel=1e-5)
    assert found.loss != pytest.approx(evaluate(model, split, digits, "test").loss, rel=1e-2)


def test_predictions_that_are_no_numbers_are_missed():
    logits = torch.tensor([[math.nan, 0.0, 0.0], [5.0, 0.0, 0.0]])
    labels = torch.tensor([0, 0])
    assert error_of(logits, labels) == 0.5
    assert error_of(logits, labels, among=2) == 0.5
    assert 0.5 < expected_error_of(logits, labels) < 0.51
    assert torch.equal(misses(logits, labels), torch.tensor([True, False]))


def test_of_equally_likely_classes_the_first_is_predicted():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randint(3, (400, 8), generator=rng).float()  # ties, as in int8
    labels = torch.randint(8, (400,), generator=rng)
    assert torch.equal(misses(logits, labels), logits.argmax(1) != labels)
    order = np.argsort(-logits.numpy(), axis=1, kind="stable")[:, :5]
    among = (order == labels.numpy()[:, None]).any(1)
    assert misses(logits, labels, among=5).tolist() == (~among).tolist()


def test_over_views_of_one_view_returns_its_logits():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert over_views(logits, 1) is logits
    torch.testing.assert_close(
        over_views(logits.repeat_interleave(3, 0), 3).softmax(1), logits.softmax(1)
    )


def test_scorer_of_views_reads_the_first_alone(small, tmp_path):
    plain, seen = small
    run = smash.train(plain, tmp_path / "run", epochs=1, **TINY)
    network = run.network(torch.device("cpu"))
    architecture = run.space.sample(np.random.default_rng(0))
    assert Scorer(network, seen)(architecture) == Scorer(network, plain)(architecture)


def test_train_on_views_draws_from_all_repeatably(small, tmp_path):
    plain, seen = small
    runs = [
        smash.train(data, tmp_path / name, epochs=2, batch_size=20, **TINY)
        for name, data in {"plain": plain, "seen": seen, "again": seen}.items()
    ]
    losses = [[row["train_loss"] for row in run.metrics.rows()] for run in runs]
    assert losses[1] == losses[2]
    assert losses[0] != losses[1]


def test_retrain_on_views_evaluates_all(small, tmp_path):
    _, seen = small
    run = smash.train(seen, tmp_path / "run", epochs=1, **TINY)
    smash.search(run, random=2, perturb=0, markov=0)
    child = smash.retrain(run, rank=0, epochs=1, batch_size=20, test=True, device="cpu")
    cpu = torch.device("cpu")
    again = evaluate(child.model(cpu), seen.test, seen, "test")
    assert child.result["test"].examples == 60
    assert child.result["test"].loss == again.loss
    alone = evaluate(child.model(cpu), seen.test.first_views, seen, "test")
    assert alone.loss != again.loss


@pytest.fixture
def evaluated(digits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    predicted = model(digits.normalise(digits.test.images)).argmax(1).numpy()
    return evaluate(model, digits.test, digits, "test"), predicted


def test_evaluate_gives_confusion_and_recall_of_scikit_learn(evaluated, digits):
    evaluation, predicted = evaluated
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


def test_macro_f1_leaves_out_classes_that_are_not_there():
    labels, predicted = [0, 0, 2, 2, 2], [0, 1, 2, 0, 0]
    counts = confusion(torch.tensor(labels), torch.tensor(predicted), 4)
    assert macro_f1(counts) == f1_score(labels, predicted, average="macro")


def test_evaluation_stored_leaves_out_a_large_confusion(evaluated):
    evaluation, _ = evaluated
    stable = ["split", "examples", "error", "expected_error", "top5_error", "macro_f1", "loss"]
    assert list(evaluation.model_dump()) == [*stable, "recall", "confusion"]
    assert evaluation.stored() == evaluation
    many = evaluation.model_copy(update={"confusion": [[0] * 101] * 101})
    assert many.stored().confusion == []
