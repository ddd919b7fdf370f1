from __future__ import annotations

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import smash
from smash.config import ChildSettings
from smash.runtime.progress import silent
from smash.training.quantised import (
    CLIP_NORM,
    FakeQuantisation,
    QuantisedTraining,
    fine_tune_for_int8,
    round_activations,
    round_weights,
)


def test_activations_are_rounded_to_steps_of_their_range():
    values = torch.tensor([-1.0, 0.0, 0.0149, 1.55])  # 255 steps of 0.01
    rounded = round_activations(values)
    assert rounded.tolist() == pytest.approx([-1.0, 0.0, 0.01, 1.55], abs=1e-6)
    positive = round_activations(torch.tensor([5.0, 2.55 * 2]))  # The range begins at 0.
    assert positive.tolist() == pytest.approx([5.0, 5.1], abs=1e-6)
    assert round_activations(3) == 3
    labels = torch.tensor([1, 2])
    assert round_activations(labels) is labels


def test_weights_are_rounded_by_output_channel():
    weight = torch.tensor([[1.27, 0.0149], [127.0, 1.49]])
    expected = torch.tensor([[1.27, 0.01], [127.0, 1.0]])
    torch.testing.assert_close(round_weights(weight, 0), expected)
    torch.testing.assert_close(round_weights(weight.T.contiguous(), 1), expected.T)


def test_fake_quantisation_rounds_within_and_passes_gradients():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Conv1d(3, 1, 2))
    images = torch.randn(4, 2, 6)
    network.eval()
    plain = network(images)
    with FakeQuantisation():
        rounded = network(images)
    first = F.conv1d(round_activations(images), round_weights(network[0].weight, 0))
    hidden = F.relu(network[1](first + network[0].bias[:, None]))
    weight = round_weights(network[3].weight, 0)
    by_hand = F.conv1d(round_activations(hidden), weight, network[3].bias)
    torch.testing.assert_close(rounded, by_hand)
    assert 0 < (rounded - plain).abs().max() < 0.05
    torch.testing.assert_close(network(images), plain)
    rounded.sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_a_step_of_fine_tuning_is_short_however_steep_the_loss_is(few_digits):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2)
    norm.running_var.fill_(1e-4)  # multiplies what it passes on, and gradients, by 95
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), norm, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 10)
    )
    settings = ChildSettings(epochs=1, learning_rate=0.01, weight_decay=0)
    training = QuantisedTraining("fine-tune", network, few_digits, settings)
    network[-1].weight.data.neg_()  # so that it is far from what it was
    before = torch.cat([each.detach().flatten().clone() for each in network.parameters()])
    training.step(0)
    after = torch.cat([each.detach().flatten() for each in network.parameters()])
    moved = (after - before).norm()
    # The first step with Nesterov's momentum of 0.9 is 1.9 gradients long.
    assert 0 < moved <= 1.9 * 0.01 * CLIP_NORM + 1e-6


def test_fine_tuning_takes_examples_as_large_as_those_the_network_learned_from(
    finished, tmp_path, monkeypatch
):
    run = shutil.copytree(finished, tmp_path / "run")
    (path,) = (run / "children").iterdir()
    about = json.loads((path / "architecture.json").read_text())
    (path / "architecture.json").write_text(json.dumps({**about, "size": [4, 4]}))
    seen = []

    def stop(label, model, data, settings):
        seen.append(data.task.size)
        raise KeyError

    monkeypatch.setattr("smash.training.quantised.QuantisedTraining", stop)
    with pytest.raises(KeyError):
        fine_tune_for_int8(smash.Child.open(path), 1, tmp_path / "fine-tuning", silent)
    assert seen == [(4, 4)]
