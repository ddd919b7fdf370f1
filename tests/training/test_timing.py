from __future__ import annotations

import shutil
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

import smash
from smash.config import Length
from smash.errors import InvalidValueError
from smash.training.child import ChildTraining
from smash.training.settings import RetrainSettings
from smash.training.smash_network import SmashTraining
from smash.training.timing import Deadline, Pace
from smash.training.train import begin
from tests.conftest import TINY


def test_length_after_a_revision_keeps_positions_of_steps_taken():
    length = Length(steps=100).revised(40, 60)  # 60 steps of the plan in 20
    assert [length.position(step) for step in (0, 20, 40, 41, 50, 59)] == [0, 20, 40, 43, 70, 97]
    longer = length.revised(50, 80)  # 30 steps of the plan in 30 instead of 10
    assert [longer.position(step) for step in (40, 50, 51, 79)] == [40, 70, 71, 99]
    assert (longer.steps, longer.total, longer.revised_at) == (100, 80, 50)


@pytest.mark.parametrize("steps", [1, 2, 7, 8, 100, 1003])
def test_snapshot_steps_are_shares_of_the_plan(steps):
    plain = Length(steps=steps)
    assert plain.snapshot_steps(4) == {
        steps - index * steps // 8 for index in (1, 2, 3) if index * steps // 8
    }
    if steps == 100:
        shorter = plain.revised(70, 85)  # positions go by twos
        assert shorter.snapshot_steps(4) == {63, 73, 79}
        assert shorter.step_at(Fraction(1, 2)) == 50


@pytest.mark.parametrize(
    "revisions", [[[0, 5]], [[11, 12]], [[5, 4]], [[5, 8], [5, 9]], [[5, 5], [5, 9]], [[5, 0]]]
)
def test_length_with_revisions_out_of_order_fails(revisions):
    with pytest.raises(InvalidValueError):
        Length(steps=10, revisions=revisions)


def test_deadline_shortens_a_training_that_is_late():
    deadline, length = Deadline(100, lambda length: None, spent=10, validation=2), Length(steps=400)
    deadline.restart(10, step=0)
    assert not deadline.is_due(14, length, step=8)
    assert deadline.is_due(15, length, step=10)
    # A step takes 0.5 s, and a validation of 2 s comes every 20 steps and at the end: 138.3 of
    # 0.6 s fit into 83 s.
    length = deadline.revise(15, length, step=10, between_validations=20)
    assert length.revisions == ((10, 148),)
    deadline.take_validation(3.0)
    assert deadline.is_due(23, length, step=20)
    assert deadline.revise(23, length, step=20, between_validations=20).revisions == (
        (10, 148),
        (20, 20 + 113),
    )


def test_deadline_lengthens_only_in_the_second_half():
    deadline, length = Deadline(100, lambda length: None), Length(steps=100)
    for step, total in ((49, 100), (50, 150), (55, 155)):
        deadline.restart(40, step=step - 20)  # half a second a step, and 50 s are left
        assert deadline.revise(50, length, step, between_validations=1e9).total == total
    deadline.restart(40, step=40)  # at a second a step the plan holds, but for a tenth
    assert deadline.revise(50.5, length, step=50, between_validations=1e9) == length


@pytest.fixture
def busy(monkeypatch):
    """Lets each step of a training take a second, four times as long as when it was timed."""
    now = [0.0]
    for name in ("loop", "train", "child"):
        monkeypatch.setattr(
            f"smash.training.{name}.time", SimpleNamespace(monotonic=lambda: now[0])
        )
    for name in ("train", "child"):
        monkeypatch.setattr(
            f"smash.training.{name}.measure_pace",
            lambda trial, seconds: Pace(step=0.25, validation=0.0),
        )
    for training in (SmashTraining, ChildTraining):

        def step(self, number, take=training.step):
            now[0] += 1
            return take(self, number)

        monkeypatch.setattr(training, "step", step)
    return now


def test_train_with_minutes_is_a_function_of_its_record(few_digits, tmp_path, monkeypatch, busy):
    settings = {**TINY, "snapshots": 2, "minutes": 0.25}
    step = SmashTraining.step

    def kill(self, number):
        if number == 6:
            raise RuntimeError("as by a kill")
        return step(self, number)

    monkeypatch.setattr(SmashTraining, "step", kill)
    with pytest.raises(RuntimeError, match="kill"):
        smash.train(few_digits, tmp_path / "run", **settings)
    before = smash.Run.open(tmp_path / "run").settings.training.length
    monkeypatch.setattr(SmashTraining, "step", step)
    run = smash.train(few_digits, tmp_path / "run", resume=True)
    length = run.settings.training.length
    assert (length.steps, length.total) == (60, 15)
    assert length.revisions == (*before.revisions, (15, 15))
    assert smash.Run.open(run.path).settings == run.settings
    # The settings alone repeat it, at any pace.
    (tmp_path / "again").mkdir()
    shutil.copy(run.path / "config.toml", tmp_path / "again")
    busy[0] = -1e9
    again = smash.train(few_digits, tmp_path / "again", resume=True)
    assert again.settings == run.settings
    snapshots = [f"snapshots/step-{each}" for each in run.settings.training.snapshot_steps]
    assert len(snapshots) == 1
    for file in ("network", *snapshots):
        tensors = load_file(run.path / f"{file}.safetensors")
        for name, tensor in load_file(again.path / f"{file}.safetensors").items():
            assert torch.equal(tensor, tensors[name])


def test_retrain_with_minutes_is_a_function_of_its_record(few_digits, tmp_path, busy):
    run = begin(few_digits, tmp_path / "run", **TINY)
    settings = {"baseline": "resnet-8-2", "minutes": 0.25, "device": "cpu"}
    child = smash.retrain(run, rank=0, **settings)
    assert child.path.name == "resnet-8-2-m0.25"
    assert (child.record.length.steps, child.record.length.total) == (60, 15)
    again = run.child_path("again")
    again.mkdir()
    shutil.copy(child.path / "architecture.json", again)
    busy[0] = -1e9
    other = smash.retrain(run, rank=0, name="again", **settings)
    assert other.record == child.record
    for name, tensor in other.model(torch.device("cpu")).state_dict().items():
        assert torch.equal(tensor, child.model(torch.device("cpu")).state_dict()[name])


@pytest.mark.parametrize("other", [{"epochs": 3}, {"finalists": 2}])
def test_retrain_settings_with_two_lengths_fail(other):
    with pytest.raises(InvalidValueError, match=r"and minutes \(1\) exclude each other"):
        RetrainSettings(minutes=1, **other)
