"""The sum of an ensemble belongs to the candidates of one study, and is used for no others."""

from __future__ import annotations

import math

import pytest
import torch

from smash.searching.ensemble import Ensemble

LABELS = torch.arange(20) % 3
LOGITS = torch.randn(60, 20, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def path(tmp_path):
    """A sum of three candidates."""
    ensemble = Ensemble(tmp_path / "ensemble.safetensors", LABELS, [])
    for number, name in enumerate("abc"):
        ensemble.add(name, LOGITS[number])
    ensemble.save()
    return tmp_path / "ensemble.safetensors"


def test_reopened_ensemble_continues_exactly(path):
    ensemble = Ensemble(path, LABELS, ["a", "b", "c", "d"])
    assert ensemble.count == 3
    odds = LOGITS[:4].double().softmax(2)
    total = odds[0] + odds[1] + odds[2] + odds[3]
    wrong = (total.argmax(1) != LABELS).double().mean().item()
    ensemble.add("d", LOGITS[3])
    assert ensemble.error() == pytest.approx(wrong, abs=1e-12)


@pytest.mark.parametrize("ids", [[], ["a", "b"], ["a", "b", "x"], ["b", "a", "c", "d"]])
def test_sum_of_other_candidates_is_ignored(path, ids):
    assert Ensemble(path, LABELS, ids).count == 0


def test_sum_of_other_examples_and_damaged_sum_are_ignored(path):
    assert Ensemble(path, LABELS[:19], ["a", "b", "c"]).count == 0
    path.write_bytes(path.read_bytes()[:-1])
    assert Ensemble(path, LABELS, ["a", "b", "c"]).count == 0


def test_ensemble_is_saved_every_fifty_candidates_and_only_if_changed(tmp_path):
    path = tmp_path / "ensemble.safetensors"
    ensemble = Ensemble(path, LABELS, [])
    written = []
    for number in range(60):
        ensemble.add(str(number), LOGITS[number])
        ensemble.save_sometimes()
        written.append(path.exists())
    assert written.index(True) == 49
    before = path.stat().st_mtime_ns
    again = Ensemble(path, LABELS, [str(number) for number in range(60)])
    assert again.count == 50
    again.save()
    assert path.stat().st_mtime_ns == before


def test_predictions_that_are_not_numbers_change_nothing(tmp_path):
    ensemble = Ensemble(tmp_path / "ensemble.safetensors", LABELS, [])
    ensemble.add("a", 5 * torch.eye(3)[LABELS])
    ensemble.add("b", torch.full((20, 3), math.nan))
    assert ensemble.error() == 0
