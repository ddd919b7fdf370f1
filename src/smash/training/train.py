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
from smash.config import (
    RunSettings,
    SpaceSettings,
    TrainingPlan,
    refuse_changes,
)
from smash.data import Data
from smash.errors import InvalidValueError, RunStateError
from smash.io.files import make_folder
from smash.io.locks import hold
from smash.run.layout import check_free
from smash.run.metrics_log import check_tensorboard
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.distributed import join
from smash.runtime.progress import Progress, silent
from smash.spaces import make_space
from smash.spaces.user_code import is_user_code, source_digest
from smash.training.defaults import (
    DEFAULTS,
    EPOCHS,
    LONG_DEFAULTS,
    LONG_EPOCHS,
    PUBLISHED_EPOCHS,
    SHARED_DEFAULTS,
    suitable_preset,
)
from smash.training.loop import steps_per_epoch
from smash.training.settings import TrainSettings
from smash.training.smash_network import TrainingLoop

_TIMED_STEPS = 24

_TIMED_SHARE = 0.05  # of the minutes asked for, at most, goes into timing


def train(
    data: Data | None,
    out: str | Path,
    settings: TrainSettings | None = None,
    *,
    resume: bool = False,
    tensorboard: bool = False,
    progress: Progress = silent,
    announce: Callable[[list[str]], None] | None = None,
    **changes: Any,
) -> Run:
    """Trains a SMASH network.

    Args:
        data: The data, as `load_data` returns it; with `resume`, None takes that of the run.
        out: The run folder to make.
        settings: What is asked for. Settings that are not given are those that suit the space, or
            with `resume` those of the run.
        resume: Continue an unfinished run; a finished one is returned as it is.
        tensorboard: Write training curves for TensorBoard too, in ``RUN/tensorboard``.
        progress: Shows how far training is.
        announce: Called once, before training, with lines on the resolved settings.
        **changes: Fields of `TrainSettings`, which replace those of `settings`.

    Returns:
        The run; `search` takes it.

    Raises:
        InvalidValueError: A setting is wrong.
        AlreadyExistsError: The folder exists and `resume` was not asked for.
        RunStateError: The run to resume is damaged, was made with other data or settings, or is in
            use by another process.
        MissingExtraError: TensorBoard was asked for and is not installed.
        DivergedError: The loss is no longer finite.
    """
    out = Path(out)
    settings = TrainSettings.merged(settings, changes)
    if tensorboard:
        check_tensorboard()
    if resume and "device" not in settings.given():
        device = choose_device(Run.open(out).settings.device)
    else:
        device = choose_device(settings.device)
        if "device" in settings.given():
            settings = settings.replaced(device=str(device))
    with join(device) as processes, ExitStack() as held:

        def prepare() -> None:
            if resume:
                run = _check_resumed(out, data, settings, processes.count)
                if not run.trained:
                    held.enter_context(hold(out, "train"))
            else:
                run = _begin(out, data, settings, processes.count, held)
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


def begin(
    data: Data, out: str | Path, settings: TrainSettings | None = None, **changes: Any
) -> Run:
    """Makes a run without training its SMASH network: `retrain` trains reference networks in it.

    Args:
        data: The data, as `load_data` returns it.
        out: The run folder to make.
        settings: As in `train`.
        **changes: Fields of `TrainSettings`, which replace those of `settings`.

    Raises:
        InvalidValueError: A setting is wrong.
        AlreadyExistsError: The folder exists.
    """
    settings = TrainSettings.merged(settings, changes)
    with ExitStack() as held:
        return _begin(Path(out), data, settings, 1, held)


def _begin(
    out: Path, data: Data | None, settings: TrainSettings, processes: int, held: ExitStack
) -> Run:
    """Makes the run folder, once all settings hold, and locks it."""
    if data is None:
        raise InvalidValueError("data must be given, unless a run is resumed")
    _check_data(data)
    check_free(out)
    run = Run(out, resolve(settings, data, processes))
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


def _check_resumed(out: Path, data: Data | None, settings: TrainSettings, processes: int) -> Run:
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
    given = settings.given()
    if (epochs := given.pop("epochs", None)) is not None:
        size = given.get("batch_size", before.batch_size) * processes
        given["steps"] = epochs * steps_per_epoch(len(run.data.train), size)
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


def resolve(settings: TrainSettings, data: Data, processes: int = 1) -> RunSettings:
    """Fills in what was not given, for a space and its data, and fixes the number of steps."""
    device = str(choose_device(settings.device))
    space, preset = settings.space, settings.preset
    if space == "memory-bank":
        preset = preset or suitable_preset(data.task.size, device)
    given = {
        name: value for name, value in settings.given().items() if name in TrainingPlan.model_fields
    }
    key = preset if space == "memory-bank" else space
    usual = DEFAULTS.get(str(key), SHARED_DEFAULTS)
    if_long = LONG_DEFAULTS.get(str(key), {})
    if data.task.dims != 2:  # the size of a proxy was found for images
        usual = {name: value for name, value in usual.items() if name != "proxy_size"}
        if_long = {}
    plan = TrainingPlan(**{"steps": 1, **usual, **given, "processes": processes})
    resolved = RunSettings(
        seed=settings.seed,
        device=device,
        hypernet=settings.hypernet or ("convolutional" if space == "memory-bank" else "none"),
        data=data.settings,
        space=space_settings(settings, preset),
        training=plan,
    )
    per_epoch = steps_per_epoch(len(data.train), plan.batch_size * processes)
    if plan.minutes is None:
        steps = (settings.epochs or EPOCHS.get(space, PUBLISHED_EPOCHS)) * per_epoch
        return resolved.replaced(training=plan.replaced(steps=steps))
    steps = _steps_in(plan.minutes, resolved, data)
    # Where they are too few for what is slower, that need not be timed.
    if steps >= LONG_EPOCHS * per_epoch and if_long and not given.keys() & if_long.keys():
        slower = resolved.replaced(training=plan.replaced(**if_long))
        fewer = _steps_in(plan.minutes, slower, data)
        if fewer >= LONG_EPOCHS * per_epoch:
            resolved, steps = slower, fewer
    return resolved.replaced(training=resolved.training.replaced(steps=steps))


def space_settings(settings: TrainSettings, preset: str | None) -> SpaceSettings:
    """Gives the settings of the space, with the digest of its source where it is the user's."""
    space = SpaceSettings(name=settings.space, preset=preset, options=settings.options)
    if is_user_code(settings.space):
        space = space.replaced(source=source_digest(make_space(space, dims=2)))
    return space


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
