from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import smash
from smash.scoring.scorer import GeneratedChild, Scorer, rung_ends
from tests.conftest import TINY

CPU = torch.device("cpu")


def test_rung_ends_double_until_all_is_seen():
    assert rung_ends(5000) == [100, 200, 400, 800, 1600, 3200, 5000]
    assert rung_ends(2000) == [100, 200, 400, 800, 1600, 2000]
    assert rung_ends(1900) == [100, 200, 400, 800, 1900]
    assert rung_ends(499) == [499]


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """A run with enough validation examples for a race."""
    data = smash.load_data("digits", val_fraction=0.5)
    return smash.train(data, tmp_path_factory.mktemp("scorer") / "run", epochs=1, **TINY)


@pytest.fixture
def scorer(raced):
    return Scorer(raced.network(CPU), raced.data)


@pytest.fixture
def architecture(raced):
    return raced.space.sample(np.random.default_rng(0))


def test_examples_of_each_rung_are_a_fair_sample(raced, scorer):
    labels = scorer.labels.numpy()
    shares = np.bincount(raced.data.val.labels.numpy()) / len(raced.data.val)
    for seen in (20, 100, 200, 400):
        counts = np.bincount(labels[:seen], minlength=10)
        assert np.abs(counts - seen * shares).max() < 2
    classes = np.bincount(labels, minlength=10)
    assert (classes == np.bincount(raced.data.val.labels.numpy())).all()  # each example once


@pytest.mark.parametrize("rank_by", ["loss", "error", "top5_error"])
def test_score_is_the_mean_of_its_ranking_values(raced, architecture, rank_by):
    scorer = Scorer(raced.network(CPU), raced.data, rank_by=rank_by)
    predicted = scorer.predict(architecture)
    values = scorer.ranking_values(predicted)
    assert scorer.score(predicted).value == pytest.approx(values.mean().item(), rel=1e-6)
    begin = scorer.rungs[0]
    assert torch.equal(scorer.ranking_values(predicted[begin:], begin), values[begin:])


def test_generated_child_predicts_the_same_in_another_process(scorer, architecture):
    child = scorer.generate(architecture)
    sent = pickle.loads(pickle.dumps(child))  # noqa: S301
    assert not sent.modules
    assert torch.equal(scorer.predict_rung(sent, 0), scorer.predict_rung(child, 0))
    modules = sent.modules
    scorer.predict_rung(sent, 1)
    assert sent.modules is modules


def test_children_on_a_cpu_read_channels_last_batches_of_one_shape(scorer, architecture):
    batches = []

    def child(images):
        batches.append(images)
        return torch.zeros(len(images), 10)

    for rung in range(len(scorer.rungs)):
        scorer.predict_rung(GeneratedChild(architecture, [], [child]), rung)
    assert [len(images) for images in batches[:-1]] == [100] * (len(scorer.labels) // 100)
    assert {images.stride(1) for images in batches} == {1}


def test_child_is_built_once_per_score(raced, scorer, architecture, monkeypatch):
    built = []
    build = type(raced.space).build

    def counted(*arguments):
        built.append(arguments)
        return build(*arguments)

    monkeypatch.setattr(type(raced.space), "build", counted)
    scorer(architecture)
    assert len(built) == 1


def test_copied_scorer_scores_the_same(scorer, architecture):
    assert scorer.to(CPU)(architecture) == scorer(architecture)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_prediction_in_half_precision_is_close(raced, architecture, precision):
    whole, half = (
        Scorer(raced.network(CPU), raced.data, precision=name).predict(architecture)
        for name in ("fp32", precision)
    )
    assert half.dtype == torch.float32
    assert not torch.equal(half, whole)
    torch.testing.assert_close(half, whole, atol=0.1, rtol=0.1)
