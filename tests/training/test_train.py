from __future__ import annotations

import json
from contextlib import ExitStack

import numpy as np
import pytest
import torch

import smash
from smash.cli.describe import describe_run
from smash.config import Length, TrainingPlan
from smash.errors import AlreadyExistsError, DivergedError, InvalidValueError, RunStateError
from smash.io.tensors import load_tensors
from smash.training.optim import make_optimizer, scheduled_rate
from smash.training.settings import TrainSettings
from smash.training.train import _create, begin
from tests import answers
from tests.conftest import TINY
from tests.processes import in_process


def weights_of(run):
    return load_tensors(run.path / "network.safetensors")[0]


def metrics_of(run):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.metrics.rows()]


def test_train_interrupted_and_resumed_gives_the_same_result(digits, tmp_path, monkeypatch):
    whole = smash.train(digits, tmp_path / "whole", epochs=2, **TINY)

    from smash.runtime.signals import Interruption

    steps = iter(range(1000))
    monkeypatch.setattr(
        Interruption,
        "requested",
        property(lambda self: next(steps) == 38, lambda self, _: None),
        raising=False,
    )
    with pytest.raises(KeyboardInterrupt):
        smash.train(digits, tmp_path / "cut", epochs=2, **TINY)
    monkeypatch.undo()
    cut = smash.Run.open(tmp_path / "cut")
    assert not cut.trained
    with pytest.raises(RunStateError, match="has not finished"):
        smash.search(cut)
    cut = smash.train(None, tmp_path / "cut", resume=True)  # it knows its data

    assert metrics_of(cut) == metrics_of(whole)
    assert len(metrics_of(cut)) == 2
    expected = weights_of(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(cut).items())


def _write_scores(run, path):
    torch.set_num_threads(1)
    run = smash.train(smash.load_data("digits"), run, epochs=1, **TINY)
    study = smash.search(run, random=2, perturb=1, markov=1, device="cpu")
    candidates = [[one.id, one.loss, one.error] for one in study.candidates()]
    path.write_text(json.dumps([metrics_of(run), candidates]))


def test_train_with_the_same_seed_in_another_process_gives_the_same_run(run, tmp_path):
    study = smash.search(run, random=2, perturb=1, markov=1, device="cpu")
    assert in_process(_write_scores, tmp_path / "other", tmp_path / "scores") == 0
    rows, candidates = json.loads((tmp_path / "scores").read_text())
    assert rows == metrics_of(run)
    assert candidates == [[one.id, one.loss, one.error] for one in study.candidates()]


def test_train_with_an_infinite_loss_raises_diverged(digits, tmp_path):
    with pytest.raises(DivergedError, match="lower --learning-rate") as caught:
        smash.train(digits, tmp_path / "run", epochs=3, learning_rate=1e30, **TINY)
    assert caught.value.exit_code == 1
    assert not (tmp_path / "run" / "network.safetensors").exists()


def test_a_last_step_that_diverges_is_told_by_the_validation_after_it(digits, run, tmp_path):
    at_once = {"epochs": 1, "batch_size": 2000, "learning_rate": 1e20}
    with pytest.raises(DivergedError, match="validation loss is nan at step 1"):
        smash.train(digits, tmp_path / "other", **{**TINY, **at_once})
    smash.search(run, random=1, perturb=0, markov=0, device="cpu")
    with pytest.raises(DivergedError, match="validation loss is nan at step 1"):
        smash.retrain(run, rank=0, device="cpu", **at_once)


def test_train_into_an_existing_run_refuses(run, digits):
    before = (run.path / "config.toml").read_bytes()
    with pytest.raises(AlreadyExistsError):
        smash.train(digits, run.path, epochs=1, **TINY)
    assert (run.path / "config.toml").read_bytes() == before


def test_train_resumed_with_other_settings_or_data_refuses(run, digits):
    with pytest.raises(RunStateError, match="seed was 0"):
        smash.train(digits, run.path, resume=True, seed=1)
    with pytest.raises(RunStateError, match=r"epochs was 1 when .* got 7: leave it out"):
        smash.train(digits, run.path, resume=True, epochs=7)
    smash.train(digits, run.path, resume=True, epochs=1)
    with pytest.raises(RunStateError, match="other data"):
        smash.train(smash.load_data("digits", val_fraction=0.2), run.path, resume=True)


def test_train_with_a_wrong_option_leaves_no_folder(digits, tmp_path):
    with pytest.raises(InvalidValueError, match="did you mean 'depths'"):
        smash.train(digits, tmp_path / "run", epochs=1, options={"dephts": 3})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("digits", "got 'digits'"),
        (np.zeros((2, 1, 8, 8)), "got a ndarray"),
        (None, "must be given"),
    ],
)
def test_train_with_data_that_is_not_loaded_refuses(data, words, run, tmp_path):
    with pytest.raises(InvalidValueError, match=words):
        smash.train(data, tmp_path / "other", epochs=1)
    assert not (tmp_path / "other").exists()
    if data is not None:
        with pytest.raises(InvalidValueError, match=words):
            smash.train(data, run.path, resume=True)


def test_train_with_minutes_fixes_the_number_of_steps(digits, tmp_path):
    run = smash.train(digits, tmp_path / "run", minutes=0.05, **TINY)
    steps = smash.Run.open(run.path).settings.training.length.total
    assert run.metrics.rows()[-1]["step"] == steps >= 1


def test_make_optimizer_does_not_decay_the_hypernetwork(run):
    network = run.network(torch.device("cpu"))
    settings = TrainingPlan(length=Length(steps=10))
    groups = make_optimizer(network, settings).param_groups
    hypernetwork = {id(value) for value in network.source.hypernetwork.parameters()}
    assert {id(value) for value in groups[1]["params"]} == hypernetwork
    assert [group["weight_decay"] for group in groups] == [1e-4, 0.0]
    assert (groups[0]["lr"], groups[0]["betas"], groups[0]["eps"]) == (1e-3, (0.5, 0.999), 1e-4)


def test_scheduled_rate_follows_a_cosine_to_zero():
    settings = TrainingPlan(length=Length(steps=10))
    rates = [scheduled_rate(settings, step) for step in (0, 5, 10)]
    assert rates == pytest.approx([1e-3, 5e-4, 0])


def test_describe_run_tells_the_proxy_of_cells(tmp_path):
    cells = {"space": "nas-bench-201", "options": {"channels": 4, "cells": 2}, "epochs": 1}
    rng = np.random.default_rng(0)
    for name, size, proxy, words in (
        (
            "images",
            (1, 20, 20),
            (16, 16),
            "ranks from 16×16 with the smaller children of the space's",
        ),
        ("signals", (1, 40), (40,), "ranks with the smaller children of the space's"),
    ):
        np.savez(tmp_path / f"{name}.npz", data=rng.random((60, *size)), labels=np.arange(60) % 2)
        data = smash.load_data(tmp_path / f"{name}.npz", dims=len(proxy))
        run = begin(data, tmp_path / name, device="cpu", **cells)
        assert run.search_data.task.size == proxy
        assert any(words in line for line in describe_run(run))
    plain = begin(data, tmp_path / "plain", device="cpu", proxy_space=False, **cells)
    assert not any("ranks" in line for line in describe_run(plain))


def test_cells_go_through_train_search_and_retrain(digits, tmp_path):
    given = {"space": "nas-bench-201", "options": {"channels": 4, "cells": 1, "distinct": True}}
    trained = smash.train(digits, tmp_path / "run", epochs=1, device="cpu", **given)
    run = smash.Run.open(trained.path)
    assert (run.settings.hypernet, run.settings.space.preset) == ("none", None)
    assert (run.settings.training.schedule, run.settings.training.optimizer) == ("constant", "sgd")
    study = smash.search(run, random=6, perturb=2, markov=2, device="cpu", examples=50)
    cells = [one.architecture for one in study.candidates()]
    assert len({cell.canonical for cell in cells}) == 10
    child = smash.retrain(run, rank=0, epochs=1, device="cpu")
    best = study.ranked()[0]
    assert child.record.architecture == run.space.to_json(best.architecture)
    model = child.model(torch.device("cpu"))
    assert sum(parameter.numel() for parameter in model.parameters()) == best.params
    with pytest.raises(RunStateError, match="space was nas-bench-201"):
        smash.train(digits, run.path, resume=True, space="memory-bank")
    with pytest.raises(InvalidValueError, match="has no presets, got preset 'tiny'"):
        smash.train(digits, tmp_path / "other", epochs=1, preset="tiny", space="nas-bench-201")
    assert not (tmp_path / "other").exists()


def test_train_resumed_without_data_takes_no_options_of_data(run, command):
    found = command("train", "--resume", "--out", str(run.path), "--test-fold", "2/5")
    assert found.code == 2
    (fault,) = found.faults
    assert "test_fold is read with DATA, which is missing: name it, or leave test_fold out" in fault


def test_train_says_what_split_its_error_is_of(few_digits, tmp_path, command, monkeypatch):
    monkeypatch.setattr("smash.cli.train.load", lambda *_: few_digits)
    words = answers.TRAIN.split()
    said = command(*words, "--epochs", "1", "--validate-on", "test", "--out", str(tmp_path / "a"))
    assert "% TEST error" in said.err
    assert "validation error" not in said.err


def test_more_processes_than_examples_can_feed_are_refused(few_digits, tmp_path):
    settings = TrainSettings(batch_size=len(few_digits.train), epochs=1, **TINY)
    with ExitStack() as held, pytest.raises(InvalidValueError, match="use fewer processes"):
        _create(few_digits, tmp_path / "run", settings, 2, held)
