"""What a SMASH network is trained by: the defaults, what is asked for, and how many steps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from smash.config import RunSettings, SpaceSettings, TrainingSettings
from smash.data import Data
from smash.device import choose_device
from smash.errors import InvalidValueError, faults_of, unknown
from smash.run import Run
from smash.spaces import make_space
from smash.training_loop import TrainingLoop, steps_per_epoch
from smash.weights import HYPERNETS

_FAST: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1}
RECIPES: dict[str, dict[str, Any]] = {
    "small": {**_FAST, "fixed_norms": True, "growing": False},
    "tiny": _FAST,
    "nas-bench-201": {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "schedule": "constant",
        "weight_decay": 5e-4,
        "batch_size": 32,
        "fixed_norms": True,
        "snapshots": 4,
        "proxy_size": 16,
        "proxy_space": True,
        "augment": False,
    },
}
"""Settings of training that differ from the published ones, by preset, or by space without one.

SGD trained faster than Adam in short single runs on small images; which ranks better is open.
Memory banks rank better with fixed norms, and with all sizes from the start, though the latter by
no more than chance may do, over three seeds. For cells a constant rate ranks better than a cosine,
over three seeds, and images of 16×16 than of 8×8, which gain nothing after 12 epochs. See
docs/ranking.md and docs/ranking-banks.md.
"""

_LONG: dict[str, dict[str, Any]] = {"nas-bench-201": {"proxy_size": 32}}
"""What differs where the minutes asked for are enough for `_LONG_EPOCHS` with it.

From 32×32 the score of cells goes on to gain for 30 epochs; joined with SynFlow it is behind that
from 16×16 after 8 epochs, and about level after 30.
"""

_LONG_EPOCHS = 20

_EPOCHS = {"nas-bench-201": 12}
"""Passes over the training split where neither epochs nor minutes are asked for, by space."""

_PUBLISHED_EPOCHS = 100
_OTHERS = {"seed", "device", "space", "preset", "options", "hypernet"}  # not of TrainingSettings
_TIMED_STEPS = 24
_TIMED_SHARE = 0.05  # of the minutes asked for, at most, goes into timing
_SUITABLE = ("tiny", "small", "v2")


def check_settings(*, epochs: int | None = None, **given: Any) -> None:
    """Checks what `train` is asked for as far as that needs no data: before it is loaded.

    Args:
        epochs: Passes over the training split.
        **given: What else `train` takes as settings; None is not given.

    Raises:
        InvalidValueError: Settings are wrong; all faults.
    """
    given = {name: value for name, value in given.items() if value is not None}
    fields = TrainingSettings.model_fields
    faults = [unknown("setting", name, fields) for name in given if name not in {*fields, *_OTHERS}]
    if epochs is not None and "minutes" in given:
        faults.append(f"epochs ({epochs}) and minutes ({given['minutes']:g}) exclude each other")
    if epochs is not None and epochs < 1:
        faults.append(f"epochs must be at least 1, got {epochs}")
    recipe = {name: value for name, value in given.items() if name in fields}
    faults += faults_of(lambda: TrainingSettings(**{"steps": 1, **recipe}))
    faults += faults_of(lambda: choose_device(given.get("device", "auto")))
    if (hypernet := given.get("hypernet", "none")) not in HYPERNETS:
        faults.append(unknown("hypernet", hypernet, HYPERNETS))
    if (seed := given.get("seed", 0)) < 0:
        faults.append(f"seed must be at least 0, got {seed}")
    space, preset = given.get("space", "memory-bank"), given.get("preset")
    options = dict(given.get("options", {}))

    def faults_with(preset: str | None) -> list[str]:
        named = {"name": space, "preset": preset, "options": options}
        return faults_of(lambda: make_space(SpaceSettings(**named), dims=2))

    # Without a preset it follows from the data; what is wrong with each of them is wrong.
    open_ = space == "memory-bank" and preset is None
    found = [faults_with(each) for each in (_SUITABLE if open_ else (preset,))]
    if all(found):
        faults += found[0]
    if faults:
        raise InvalidValueError(*faults)


def settle(data: Data, given: Mapping[str, Any], epochs: int | None) -> RunSettings:
    """Puts what was given over the defaults, and fixes the number of steps."""
    device = given.get("device") or str(choose_device())
    space, preset = given.get("space", "memory-bank"), given.get("preset")
    if space == "memory-bank":
        preset = preset or suitable_preset(data.task.size, device)
    recipe = {name: given[name] for name in TrainingSettings.model_fields if name in given}
    usual, if_long = (each.get(preset or space, {}) for each in (RECIPES, _LONG))
    if data.task.dims != 2:  # the size of a proxy was found for images
        usual = {name: value for name, value in usual.items() if name != "proxy_size"}
        if_long = {}
    training = TrainingSettings(**{"steps": 1, **usual, **recipe})
    settings = RunSettings(
        seed=given.get("seed", 0),
        device=device,
        hypernet=given.get("hypernet") or ("convolutional" if preset else "none"),
        data=data.settings,
        space=SpaceSettings(name=space, preset=preset, options=dict(given.get("options", {}))),
        training=training,
    )
    size = training.batch_size * training.processes
    per_epoch = steps_per_epoch(len(data.train), size)
    if training.minutes is None:
        steps = (epochs or _EPOCHS.get(space, _PUBLISHED_EPOCHS)) * per_epoch
        return settings.replaced(training=training.replaced(steps=steps))
    steps = _steps_in(training.minutes, settings, data)
    # Where they are too few for what is slower, that need not be timed.
    if steps >= _LONG_EPOCHS * per_epoch and if_long and not recipe.keys() & if_long.keys():
        slower = settings.replaced(training=training.replaced(**if_long))
        fewer = _steps_in(training.minutes, slower, data)
        if fewer >= _LONG_EPOCHS * per_epoch:
            settings, steps = slower, fewer
    return settings.replaced(training=settings.training.replaced(steps=steps))


def _steps_in(minutes: float, settings: RunSettings, data: Data) -> int:
    """How many steps fit in `minutes`, timed on a scratch network over the whole of training.

    Architectures grow while training goes on, so the first steps alone would promise too much:
    the timed ones are spread over all of it, and go out from its middle, so that they stay spread
    where there is time for a few only.
    """
    device = torch.device(settings.device)
    started = time.monotonic()
    run = Run(Path(), settings.replaced(training=settings.training.replaced(steps=_TIMED_STEPS)))
    run.data = data
    trial = TrainingLoop(run, run.new_network().to(device), run.search_data.to(device))
    trial.take_step()  # the first is slower than all that follow
    trial.step = 0
    middle_out = sorted(range(_TIMED_STEPS), key=lambda step: abs(2 * step + 1 - _TIMED_STEPS))
    begun, timed = time.monotonic(), 0
    for step in middle_out:
        trial.step = step
        trial.take_step()
        timed += 1
        if timed % 2 == 0 and time.monotonic() - begun > _TIMED_SHARE * 60 * minutes:
            break
    seconds = (time.monotonic() - begun) / timed
    begun = time.monotonic()
    trial.validate(epoch=1)
    seconds += (time.monotonic() - begun) / trial.per_epoch
    left = 60 * minutes - (time.monotonic() - started)
    return max(1, int(left / seconds))


def suitable_preset(size: tuple[int, ...], device: str) -> str:
    """The largest preset that suits inputs of this size on this device."""
    if max(size) <= 12:
        return "tiny"
    return "v2" if device == "cuda" else "small"
