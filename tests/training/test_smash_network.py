from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

import smash
from smash.data import epoch_order
from smash.errors import InvalidValueError
from smash.profiling.cost import measure_cost
from smash.runtime.rng import generator
from smash.scoring.scorer import Scorer
from smash.training.optim import weighted_loss
from smash.training.smash_network import SmashTraining, sampler_of
from smash.training.train import begin
from tests.answers import TRAIN, call
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


def test_validation_is_as_often_as_asked_and_at_the_end(few_digits, tmp_path):
    rows = {
        every: smash.train(
            few_digits, tmp_path / str(every), epochs=3, validate_every=every, **TINY
        ).metrics.rows()
        for every in (0, 2)
    }
    assert ["val_error" in row for row in rows[0]] == [False, False, True]
    assert ["val_error" in row for row in rows[2]] == [False, True, True]
    last = rows[0][-1]
    assert last == {**rows[2][-1], "seconds": last["seconds"]}  # looking changes nothing
    assert 0 <= last["val_top5_error"] < last["val_error"]


@pytest.mark.parametrize("clip_norm", [0.01, 1e6])
def test_clip_norm_shortens_a_step_to_the_norm_that_is_set(few_digits, tmp_path, clip_norm):
    lengths = {}
    for norm in (None, clip_norm):
        settings = {**TINY, "optimizer": "sgd", "learning_rate": 0.5, "weight_decay": 0.0}
        run = begin(few_digits, tmp_path / str(norm), epochs=1, clip_norm=norm, **settings)
        network = run.new_network()
        before = [parameter.detach().clone() for parameter in network.parameters()]
        SmashTraining(network, few_digits, run.settings.training, 0).step(0)
        after = [parameter.detach() for parameter in network.parameters()]
        changes = [(new - old).flatten() for new, old in zip(after, before, strict=True)]
        lengths[norm] = float(torch.cat(changes).norm())
    # A first step with Nesterov's momentum of 0.9 goes 1.9 times the learning rate far.
    shortened = min(lengths[None], 1.9 * 0.5 * clip_norm)
    assert lengths[clip_norm] == pytest.approx(shortened, rel=1e-3)


@pytest.mark.parametrize("shift", ["none", "contrast", "negative"])
def test_validation_of_shifted_examples_equals_the_scores_of_a_search(digits, tmp_path, shift):
    stored = digits.val.images.clone()
    stored = {"none": stored, "contrast": stored // 4, "negative": 255 - stored}[shift]
    data = replace(digits, val=replace(digits.val, stored=stored, rows=None))
    run = smash.train(data, tmp_path / "run", epochs=1, **TINY)
    network = run.network(torch.device("cpu"))
    found = SmashTraining(network, data, run.settings.training, 0).validate(1)
    sums = torch.zeros(3, dtype=torch.float64)
    for index, rows in enumerate(epoch_order(len(data.val), 0, 0).split(100)):
        architecture = run.space.sample(generator(0, "validation architecture of epoch 1", index))
        part = replace(data, val=data.val.part(rows))
        score = Scorer(network, part, examples=len(rows))(architecture)
        scored = torch.tensor([score.error, score.top5_error, score.loss], dtype=torch.float64)
        sums += len(rows) * scored
    assert [found.error, found.top5_error, found.loss] == pytest.approx(
        (sums / len(data.val)).tolist(), rel=1e-5
    )


def test_validation_of_many_examples_draws_few_architectures(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
    data = smash.load_data((images, np.arange(300) % 2), val_fraction=0.5)
    run = begin(data, tmp_path / "run", epochs=1, batch_size=2, **TINY)
    training = SmashTraining(run.new_network(), data, run.settings.training, 0)
    drawn = Counter()
    generate = training.network.generate

    def counting(architecture, images):
        drawn[len(images)] += 1
        return generate(architecture, images)

    training.network.generate = counting
    training.validate(1)
    assert drawn == {len(data.train): 16}


def test_what_ranks_cells_can_be_asked_for_elsewhere(tmp_path, capsys):
    out = str(tmp_path / "run")
    asked = (
        "--fixed-norms --no-growing --snapshots 2 --weight-decay 0.002 --hypernet none "
        "--schedule constant"
    )
    train = f"{TRAIN} --epochs 1 {asked} --out".split()
    assert call(*train, out) == 0, capsys.readouterr().err
    run = smash.Run.open(out)
    training = run.settings.training
    assert (training.fixed_norms, training.snapshots, training.weight_decay) == (True, 2, 0.002)
    assert not training.growing
    assert len(run.snapshots(torch.device("cpu"))) == 1
    shared = run.network(torch.device("cpu")).source.shared.tensors
    norms = [tensor for name, tensor in shared.items() if "norm/weight" in name]
    assert len(norms) > 3
    assert all(torch.equal(tensor, torch.ones_like(tensor)) for tensor in norms)


@pytest.mark.parametrize("growing", [True, False])
def test_architectures_grow_over_the_first_half_unless_asked_not_to(
    few_digits, tmp_path, monkeypatch, growing
):
    run = begin(few_digits, tmp_path / "run", epochs=2, growing=growing, **TINY)
    training = SmashTraining(run.new_network(), few_digits, run.settings.training, 0)
    drawn = []
    monkeypatch.setattr(
        training.network,
        "forward",
        lambda architecture, images: drawn.append(architecture) or torch.zeros(len(images), 10),
    )
    monkeypatch.setattr(training.scaler, "scale", lambda loss: torch.zeros((), requires_grad=True))
    steps = run.settings.training.length.total
    for step in range(steps):
        training.step(step)
    fractions = [step / steps if growing else 1.0 for step in range(steps)]
    assert drawn == [
        run.space.sample(generator(0, "training architecture", step), fraction)
        for step, fraction in enumerate(fractions)
    ]
    assert len(set(map(repr, drawn))) > 1


def test_snapshots_of_the_second_half_rank_together(few_digits, tmp_path):
    data = few_digits
    run = smash.train(data, tmp_path / "run", epochs=4, snapshots=4, **TINY)
    steps = run.settings.training.length.total
    kept = sorted(int(path.stem.split("-")[1]) for path in (run.path / "snapshots").iterdir())
    assert kept == [steps - 3 * steps // 8, steps - 2 * steps // 8, steps - steps // 8]
    # What is kept after a step is what a run has that ends there, at a constant rate.
    shorter = begin(data, tmp_path / "shorter", epochs=4, snapshots=4, **TINY)
    training = SmashTraining(shorter.new_network(), data, shorter.settings.training, 0)
    for step in range(kept[0]):
        training.step(step)
    device = torch.device("cpu")
    for name, tensor in run.snapshots(device)[0].state_dict().items():
        assert torch.equal(tensor, training.network.state_dict()[name])
    networks = [*run.snapshots(device), run.network(device)]
    architecture = run.space.sample(np.random.default_rng(0))
    alone = [Scorer(network, data).predict(architecture).double() for network in networks]
    odds = torch.stack([each.softmax(1).log() for each in alone]).mean(0)
    scorer = Scorer(networks[-1], data, snapshots=networks[:-1])
    assert torch.allclose(scorer.predict(architecture).double(), odds, atol=1e-5)
    losses = [Scorer(network, data)(architecture).loss for network in networks]
    assert scorer(architecture).loss == pytest.approx(np.mean(losses), rel=1e-5)
    each = scorer.ranking_values(scorer.predict(architecture))  # what a race compares
    assert each.mean().item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_training_within_limits_draws_only_what_may_be_shipped(digits, tmp_path):
    run = begin(digits, tmp_path / "run", max_params=8800, epochs=1, **TINY)
    sampler = sampler_of(run)
    drawn = [sampler.draw(generator(0, "test", index)) for index in range(12)]
    costs = [measure_cost(run.space, each, digits.task).params for each in drawn]
    assert max(costs) <= 8800 < measure_cost(run.space, run.space.largest(), digits.task).params


def test_training_within_limits_that_nothing_meets_is_refused(digits, tmp_path):
    with pytest.raises(InvalidValueError, match="max_params 5 cannot be met"):
        smash.train(digits, tmp_path / "run", max_params=5, epochs=1, **TINY)
