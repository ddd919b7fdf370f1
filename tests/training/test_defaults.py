from __future__ import annotations

import numpy as np
import pytest

import smash
from smash.training.defaults import suitable_presets
from smash.training.settings import TrainSettings
from smash.training.timing import Pace
from smash.training.train import begin


def test_suitable_presets_depend_on_data_and_device():
    assert suitable_presets("memory-bank", (8, 8), "cpu") == ("tiny",)
    assert suitable_presets("mobile", (32, 32), "cpu") == ("tiny", "small")
    assert suitable_presets("memory-bank", (32, 32), "cuda") == ("tiny", "small", "v2")


@pytest.mark.parametrize(
    ("limits", "preset"),
    [
        ({}, "small"),
        ({"max_params": 78_666, "max_macs": 12_501_632}, "small"),
        ({"max_params": 10_000}, "tiny"),
        ({"max_memory": "16KiB"}, "tiny"),
    ],
)
def test_train_takes_the_largest_preset_of_which_enough_is_within_the_limits(
    tmp_path, limits, preset
):
    images = np.zeros((80, 32, 32, 3), np.uint8)
    data = smash.load_data({"data": images, "labels": np.arange(80) % 4}, channels="last")
    space = begin(data, tmp_path / "run", device="cpu", **limits).settings.space
    assert (space.name, space.preset) == ("mobile", preset)


@pytest.mark.parametrize("preset", ["original", "v1", "v2"])
def test_train_with_a_preset_of_the_paper_searches_memory_banks(preset):
    assert TrainSettings(preset=preset).space == "memory-bank"
    assert TrainSettings(preset="small").space == "mobile"


@pytest.mark.parametrize(
    ("preset", "fixed", "growing"), [("small", True, False), ("v2", False, True)]
)
def test_train_uses_the_defaults_of_the_preset_unless_given(
    digits, tmp_path, preset, fixed, growing
):
    given = {"device": "cpu", "space": "memory-bank", "preset": preset}
    training = begin(digits, tmp_path / "usual", **given).settings.training
    assert (training.fixed_norms, training.growing) == (fixed, growing)
    assert training.schedule == "cosine"
    other = {"fixed_norms": not fixed, "growing": not growing}
    training = begin(digits, tmp_path / "asked", **given, **other).settings.training
    assert (training.fixed_norms, training.growing) == (not fixed, not growing)


@pytest.mark.parametrize("space", ["mobile", "benchmarks/nas_bench_macro.py:network"])
def test_train_clips_gradients_of_children_of_any_depth(digits, tmp_path, space):
    training = begin(digits, tmp_path / "run", space=space, device="cpu").settings.training
    assert (training.optimizer, training.schedule, training.clip_norm) == ("sgd", "cosine", 2)
    assert (training.batch_size, training.snapshots, training.fixed_norms) == (64, 1, False)


@pytest.mark.parametrize(
    ("given", "augment"),
    [
        ({"epochs": 29}, False),
        ({"epochs": 30}, True),
        ({}, True),
        ({"epochs": 29, "augment": True}, True),
        ({"epochs": 30, "augment": False}, False),
        ({"minutes": 29}, False),
        ({"minutes": 30}, True),
        ({"epochs": 2, "space": "memory-bank"}, True),
        ({"epochs": 30, "space": "nas-bench-201"}, False),
    ],
)
def test_train_augments_no_short_training_unless_asked(
    digits, tmp_path, monkeypatch, given, augment
):
    def steps_in(minutes, run, network):
        per_epoch = len(run.data.train) // run.settings.training.batch_size
        return minutes * per_epoch, Pace(step=1.0, validation=1.0)

    monkeypatch.setattr("smash.training.train._steps_in", steps_in)
    settings = begin(digits, tmp_path / "run", device="cpu", **given).settings
    assert settings.training.augment is augment


def test_train_with_many_minutes_takes_larger_images_for_cells(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", data=rng.random((400, 40, 40, 1)), labels=np.arange(400) % 2)
    data = smash.load_data(tmp_path / "images.npz")
    per_epoch = len(data.train) // 32
    cells = {"space": "nas-bench-201", "options": {"channels": 4, "cells": 2}, "device": "cpu"}
    minutes_an_epoch = {16: 1, 32: 3, 24: 2}

    def steps_in(minutes, run, network):
        epochs = minutes / minutes_an_epoch[run.settings.training.proxy_size]
        return int(epochs * per_epoch), Pace(step=1.0, validation=1.0)

    monkeypatch.setattr("smash.training.train._steps_in", steps_in)
    for given, size, epochs in (
        ({"minutes": 19}, 16, 19),
        ({"minutes": 59}, 16, 59),
        ({"minutes": 60}, 32, 20),
        ({"minutes": 60, "proxy_size": 16}, 16, 60),
        ({"minutes": 60, "proxy_size": 24}, 24, 30),
        ({"epochs": 60}, 16, 60),
        ({}, 16, 12),
    ):
        name = "-".join(map(str, (*given, *given.values())))
        settings = begin(data, tmp_path / f"run-{name}", **cells, **given).settings.training
        assert settings.proxy_size == size
        assert settings.length.total == epochs * per_epoch
