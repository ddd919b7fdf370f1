from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from smash.data.transforms import normalise
from smash.errors import ParityError
from smash.exporting.parity import BATCHES, check_parity, example_images, run_isolated
from smash.spaces.task import Task
from tests.exporting.answers import filled, signature_for

TASK = Task(channels=1, size=(4, 4), classes=3)


def child_and_signature():
    return filled(nn.Sequential(nn.Flatten(), nn.Linear(16, 3))), signature_for(TASK)


def test_example_images_are_repeatable_and_within_range():
    signature = signature_for(Task(channels=2, size=(64, 64), classes=3))
    images = example_images(signature, 4)
    assert torch.equal(images, example_images(signature, 4))
    assert not torch.equal(images, example_images(signature, 4, "latency"))
    assert images.min() == 0
    assert images.max() <= 1
    raw = example_images(signature_for(Task(channels=2, size=(64, 64), classes=3), scaled=False), 4)
    assert torch.allclose(raw.mean((0, 2, 3)), torch.tensor([0.3, 0.4]), atol=0.01)
    assert torch.allclose(raw.std((0, 2, 3)), torch.tensor([0.2, 0.25]), atol=0.01)


@torch.no_grad()
def test_check_parity_reports_the_largest_difference():
    child, signature = child_and_signature()

    def run(images):
        logits = child(normalise(images, signature.mean, signature.std))
        logits[-1, -1] += 5e-5
        return logits

    parity = check_parity(partial(map, run), child, signature, "model")
    assert parity.difference == pytest.approx(5e-5, rel=0.01)
    assert parity.allowed >= 1e-4
    assert parity.batches == BATCHES == (1, 5)


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (lambda child, images: child(images), r"differs from the child by .*, more than"),
        (lambda child, images: child(images) / 0, "not finite"),
        (lambda child, images: child(images)[:, :2], r"logits of shape \(1, 2\) for 1 examples"),
    ],
)
@torch.no_grad()
def test_check_parity_refuses_slips(slip, words):
    child, signature = child_and_signature()
    with pytest.raises(ParityError, match=words):
        check_parity(partial(map, partial(slip, child)), child, signature, "model")


def test_run_isolated_has_no_other_package(tmp_path):
    """The imports that the process refuses are refused indeed."""
    (tmp_path / "model.py").write_text("import smash\n")
    with pytest.raises(ParityError, match="smash is not part of torch"):
        run_isolated(tmp_path / "model.py", [torch.zeros(1, 1)], ("a",))


def test_run_isolated_stops_code_that_does_not_end(tmp_path, monkeypatch):
    monkeypatch.setattr("smash.exporting.parity._SECONDS", 0.1)
    (tmp_path / "model.py").write_text("while True: pass\n")
    with pytest.raises(ParityError, match=r"took longer than 0\.1 s .* while the machine is idle"):
        run_isolated(tmp_path / "model.py", [torch.zeros(1, 1)], ("a",))


def test_run_isolated_compares_class_names_character_by_character(tmp_path):
    """JSON would read the pair of surrogates as the one character that they encode."""
    (tmp_path / "model.py").write_text(
        "CLASSES = ('\\ud83d\\udca5',)\ndef load(): return lambda images: images\n"
    )
    with pytest.raises(ParityError, match="its class names differ"):
        run_isolated(tmp_path / "model.py", [torch.ones(1, 1)], ("💥",))
    (tmp_path / "model.py").write_text(
        "CLASSES = ('💥',)\ndef load(): return lambda images: images\n", encoding="utf-8"
    )
    batches = [torch.ones(1, 1), torch.arange(3.0)[:, None]]
    found = run_isolated(tmp_path / "model.py", batches, ("💥",))
    assert [logits.tolist() for logits in found] == [[[1]], [[0], [1], [2]]]
