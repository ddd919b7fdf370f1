"""Training a SMASH network: from what is asked for to a run that is trained.

What is asked for becomes settings in `smash.training.defaults`; the loop is
`smash.training.smash_network`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from smash.cli.describe import _choices, _sizes
from smash.config import RunSettings, SpaceSettings, TrainingSettings, refuse_changes
from smash.data import Data
from smash.errors import InvalidValueError, RunStateError, faults_of, unknown
from smash.hypernet import HYPERNETS
from smash.io.files import make_folder
from smash.io.locks import hold
from smash.run.layout import check_free
from smash.run.metrics_log import check_tensorboard
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.distributed import join
from smash.runtime.progress import Progress, silent
from smash.spaces import make_space
from smash.training.defaults import (
    _EPOCHS,
    _LONG,
    _LONG_EPOCHS,
    _PUBLISHED_EPOCHS,
    _SUITABLE,
    RECIPES,
    suitable_preset,
)
from smash.training.loop import steps_per_epoch
from smash.training.smash_network import TrainingLoop

_OTHERS = {"seed", "device", "space", "preset", "options", "hypernet"}  # not of TrainingSettings

_TIMED_STEPS = 24

_TIMED_SHARE = 0.05  # of the minutes asked for, at most, goes into timing


def train(
    data: Data | None,
    out: str | Path,
    *,
    epochs: int | None = None,
    minutes: float | None = None,
    space: str | None = None,
    preset: str | None = None,
    options: Mapping[str, Any] | None = None,
    hypernet: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    progress: Progress = silent,
    announce: Callable[[list[str]], None] | None = None,
    **recipe: Any,
) -> Run:
    """Trains a SMASH network. What is not given is the default, or as before with `resume`.

    Args:
        data: What `load_data` gave; with `resume`, None takes the data that the run was made with.
        out: The run folder to make.
        epochs: Passes over the training split; where `minutes` is not given either, 12 for
            ``nas-bench-201`` and 100 for others.
        minutes: Time to train for. The number of steps is fixed by timing a few before the first,
            so that the run can be repeated and resumed. Where they are many, ``nas-bench-201``
            learns and ranks from larger images.
        space: Name of the search space: ``memory-bank``, or ``nas-bench-201``.
        preset: Options of memory banks by name; the largest that suits data and device.
        options: Options of the space that differ from the preset's.
        hypernet: Where the weights of children come from; ``convolutional`` for memory banks,
            ``none``, plain weight sharing, for other spaces.
        seed: Seed of everything that is drawn; 0.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        resume: Go on with an unfinished run instead of making one; a finished one stays as it is.
        tensorboard: Write training curves for TensorBoard too, in ``RUN/tensorboard``.
        progress: Shows how far it is.
        announce: Called once, before training, with lines on what was chosen.
        **recipe: Fields of `TrainingSettings`.

    Returns:
        The run; `search` takes it.

    Raises:
        InvalidValueError: A setting is wrong.
        AlreadyExistsError: The folder is there and `resume` was not asked for.
        RunStateError: The run to resume is damaged, was made with other data or settings, or is in
            use by another process.
        MissingExtraError: TensorBoard was asked for and is not installed.
        DivergedError: The loss is no longer finite.
    """
    out = Path(out)
    asked = {
        "seed": seed,
        "device": device,
        "space": space,
        "preset": preset,
        "options": options,
        "hypernet": hypernet,
        "minutes": minutes,
        **recipe,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    check_settings(epochs=epochs, **given)
    if tensorboard:
        check_tensorboard()
    if device is not None:
        given["device"] = str(choose_device(device))
    if device is None:
        device = Run.open(out).settings.device if resume else "auto"
    with join(choose_device(device)) as processes, ExitStack() as held:

        def prepare() -> None:
            if resume:
                run = _check_resumed(out, data, given, epochs, processes.count)
                if not run.trained:
                    held.enter_context(hold(out, "train"))
            else:
                run = _begin(out, data, given, epochs, processes.count, held)
            if announce and not run.trained:
                announce(_choices(run) + ([] if resume else _sizes(run)))

        processes.first(prepare)
        run = Run.open(out)
        if data is not None:
            run.data = data
        if tensorboard:
            run.show_in_tensorboard()
        if not run.trained:
            network = run.new_network().to(processes.device)
            loop = TrainingLoop(run, network, run.search_data.to(processes.device), processes)
            loop.go_on(progress if processes.rank == 0 else silent)
    return run


def begin(data: Data, out: str | Path, *, epochs: int | None = None, **given: Any) -> Run:
    """Makes a run without training its SMASH network: `retrain` trains reference networks in it.

    Args:
        data: What `load_data` gave.
        out: The run folder to make.
        epochs: Passes over the training split, as in `train`.
        **given: What `train` takes as settings.

    Raises:
        InvalidValueError: A setting is wrong.
        AlreadyExistsError: The folder is there.
    """
    check_settings(epochs=epochs, **given)
    given["device"] = str(choose_device(given.get("device", "auto")))
    with ExitStack() as held:
        return _begin(Path(out), data, given, epochs, 1, held)


def _begin(
    out: Path,
    data: Data | None,
    given: Mapping[str, Any],
    epochs: int | None,
    processes: int,
    held: ExitStack,
) -> Run:
    """Makes the run folder, once all that was asked for holds, and holds it."""
    if data is None:
        raise InvalidValueError("data must be given, unless a run is resumed")
    _check_data(data)
    check_free(out)
    run = Run(out, settle(data, {**given, "processes": processes}, epochs))
    run.data = data
    run.new_network()  # before the folder: a wrong option leaves none behind
    make_folder(out)
    held.enter_context(hold(out, "train"))
    run.create()
    return run


def _check_data(data: object) -> None:
    if not isinstance(data, Data):
        shown = repr(data) if isinstance(data, str | Path) else f"a {type(data).__name__}"
        raise InvalidValueError(
            f"data must be what smash.load_data gives, got {shown}: give load_data that first"
        )


def _check_resumed(
    out: Path, data: Data | None, given: Mapping[str, Any], epochs: int | None, processes: int
) -> Run:
    """Finds the run, and makes sure that it goes on as it began."""
    run = Run.open(out)
    if data is not None:
        _check_data(data)
        run.data = data  # it makes sure that it is the same
    before = run.settings.training
    if processes != before.processes:
        raise RunStateError(
            f"run {str(out)!r} was begun by {before.processes} processes, got {processes}: "
            f"resume it with 'torchrun --nproc-per-node {before.processes} -m smash train …'"
        )
    if epochs is not None:
        size = given.get("batch_size", before.batch_size) * processes
        given = {**given, "steps": epochs * steps_per_epoch(len(run.data.train), size)}
    _refuse_changes(run, given)
    return run


def _refuse_changes(run: Run, given: Mapping[str, Any]) -> None:
    before = run.settings
    values = {
        **before.training.model_dump(),
        **before.space.model_dump(),
        "space": before.space.name,
        **before.model_dump(include={"seed", "hypernet", "device"}),
    }
    refuse_changes(
        values,
        given,
        since=f"run {str(run.path)!r} was made",
        mend="leave it out to resume, or choose another --out",
    )


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
