"""`train`: from settings to the run folder of a trained SMASH network."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from smash.config import Length, RunSettings, SpaceSettings, TrainingPlan, refuse_changes
from smash.data import Data
from smash.errors import InvalidValueError, RunStateError
from smash.hypernet import SmashNetwork
from smash.io.files import make_folder
from smash.io.locks import hold
from smash.profiling.feasible import ENOUGH, share_within
from smash.run.layout import check_free
from smash.run.metrics_log import check_tensorboard
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.distributed import Processes, process_group
from smash.runtime.progress import Progress, automatic, silent
from smash.spaces import is_user_code, make_space
from smash.spaces.task import Task
from smash.spaces.user_code import source_digest
from smash.training.defaults import (
    DEFAULTS,
    EPOCHS,
    LONG_DEFAULTS,
    LONG_EPOCHS,
    PUBLISHED_EPOCHS,
    SHARED_DEFAULTS,
    SHORT_DEFAULTS,
    SHORT_EPOCHS,
    SUITABLE,
    suitable_presets,
)
from smash.training.loop import TrainingLoop, steps_per_epoch
from smash.training.settings import TrainSettings
from smash.training.smash_network import SmashTraining, budget_of, sampler_of
from smash.training.timing import TIMED_STEPS, Deadline, Pace, measure_pace


def train(
    data: Data | None,
    out: str | Path,
    settings: TrainSettings | None = None,
    *,
    resume: bool = False,
    tensorboard: bool = False,
    progress: Progress = automatic,
    on_begin: Callable[[Run], None] | None = None,
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
        on_begin: Called once before training, with the run and its resolved settings.
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

    Example:
        >>> import smash
        >>> run = smash.train(smash.load_data("digits"), "runs/new", preset="tiny", epochs=1)
        >>> run.trained
        True
    """
    begun_at = time.monotonic()
    settings, out = TrainSettings.merged(settings, changes), Path(out)
    if tensorboard:
        check_tensorboard()
    begun = Run.open(out) if resume else None
    device = choose_device(settings.device)
    if "device" in settings.given():
        settings = settings.replaced(device=str(device))
    elif begun is not None:
        device = choose_device(begun.settings.device)
    network: SmashNetwork | None = None
    pace: Pace | None = None
    with process_group(device) as processes, ExitStack() as held:

        def prepare() -> RunSettings:
            nonlocal begun, network, pace
            if begun is not None:
                _check_resumed(begun, data, settings, processes.count)
                if not begun.trained:
                    held.enter_context(hold(out, "train"))
            else:
                begun, network, pace = _create(data, out, settings, processes.count, held)
            if on_begin and not begun.trained:
                on_begin(begun)
            return begun.settings

        resolved = processes.first(prepare)
        run = begun or Run(out, resolved)  # the others have not made it
        if data is not None:
            run.data = data
        if tensorboard:
            run.show_in_tensorboard()
        if not run.trained:
            network = network or run.new_network()
            deadline = None
            if (minutes := resolved.training.minutes) is not None:
                deadline = Deadline(
                    60 * minutes,
                    run.keep_length if processes.rank == 0 else run.take_length,
                    spent=time.monotonic() - begun_at,
                    validation=pace.validation if pace else 0.0,
                )
            _train(run, network, processes, deadline, progress)
    return run


def _train(
    run: Run,
    network: SmashNetwork,
    processes: Processes,
    deadline: Deadline | None,
    progress: Progress,
) -> None:
    """Trains the network of a run from where it was; the first process writes."""
    plan, first = run.settings.training, processes.rank == 0
    network = network.to(processes.device)
    data = run.search_data.to(processes.device)
    training = SmashTraining(network, data, plan, run.settings.seed, processes, sampler_of(run))
    loop = TrainingLoop(
        training, run.path, run.metrics, snapshots=plan.snapshots, deadline=deadline
    )
    loop.run(progress if first else silent)
    if first:
        run.save_network(network)


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
    with ExitStack() as held:
        return _create(data, Path(out), TrainSettings.merged(settings, changes), 1, held)[0]


def _create(
    data: Data | None, out: Path, settings: TrainSettings, processes: int, held: ExitStack
) -> tuple[Run, SmashNetwork, Pace | None]:
    """Makes the run folder, once all settings hold, and locks it; times steps for minutes."""
    if data is None:
        raise InvalidValueError("data must be given, unless a run is resumed")
    _check_data(data)
    check_free(out)
    run = Run(out, resolve(settings, data, processes))
    if processes > 1 and run.settings.training.batch_size * processes > len(data.train):
        raise InvalidValueError(
            f"batch_size × processes must be at most {len(data.train):,}, the training examples, "
            f"got {run.settings.training.batch_size} × {processes}: use fewer processes"
        )
    run.data = data
    network = run.new_network()  # before the folder, because a wrong option leaves none behind
    budget_of(run.settings.training).check_feasible(run.space, data.task)
    pace = None
    if settings.minutes is not None:
        run, network, pace = _fit_minutes(settings.minutes, run, network, settings)
    make_folder(out)
    held.enter_context(hold(out, "train"))
    run.create()
    return run, network, pace


def _check_data(data: object) -> None:
    if not isinstance(data, Data):
        shown = repr(data) if isinstance(data, str | Path) else f"a {type(data).__name__}"
        raise InvalidValueError(
            f"data must be what smash.load_data returns, got {shown}: call load_data on it first"
        )


def _check_resumed(run: Run, data: Data | None, settings: TrainSettings, processes: int) -> None:
    """Makes sure that a run continues as it began."""
    if data is not None:
        _check_data(data)
        run.data = data  # it must be the same as before
    before = run.settings.training
    if processes != before.processes:
        raise RunStateError(
            f"run {str(run.path)!r} was begun by {before.processes} processes, got {processes}: "
            f"resume it with 'torchrun --nproc-per-node {before.processes} -m smash train …'"
        )
    given = settings.given()
    if "space" in given:
        given["space"] = settings.space_name
    per_epoch = steps_per_epoch(len(run.data.train), before.batch_size * processes)
    refuse_changes(
        {
            **before.model_dump(),
            "epochs": _epochs(before.length.steps / per_epoch),
            **run.settings.space.model_dump(),
            "space": run.settings.space.name,
            **run.settings.model_dump(include={"seed", "hypernet", "device"}),
        },
        given,
        since=f"run {str(run.path)!r} was made",
        mend="leave it out to resume, or choose another --out",
    )


def _epochs(length: float) -> int | str:
    """Gives the epochs of a training; those that minutes have cut are no whole number."""
    return int(length) if length.is_integer() else f"{length:.2f}"


def resolve(settings: TrainSettings, data: Data, processes: int = 1) -> RunSettings:
    """Replaces settings that were not given by the defaults of the space, its preset and the data.

    The length follows from the epochs; for `minutes` it is one step, until steps are timed.
    """
    device = str(choose_device(settings.device))
    space, preset = settings.space_name, settings.preset
    if preset is None and space in SUITABLE:
        preset = _suitable_preset(settings, data.task, device)
    defaults = dict(DEFAULTS.get(_defaults_key(space, preset), SHARED_DEFAULTS))
    if data.task.dims != 2:  # the size of a proxy was found for images
        defaults.pop("proxy_size", None)
    given = settings.given()
    given = {name: given[name] for name in TrainingPlan.model_fields if name in given}
    plan = TrainingPlan(**{"length": Length(steps=1), **defaults, **given, "processes": processes})
    if plan.minutes is None:
        epochs = settings.epochs or EPOCHS.get(space, PUBLISHED_EPOCHS)
        size = plan.batch_size * processes
        length = Length(steps=epochs * steps_per_epoch(len(data.train), size))
        plan = plan.replaced(length=length)
    resolved = RunSettings(
        seed=settings.seed,
        device=device,
        hypernet=settings.hypernet or ("convolutional" if space == "memory-bank" else "none"),
        data=data.settings,
        space=space_settings(settings, preset),
        training=plan,
    )
    return _suit_length(resolved, settings, data) if plan.minutes is None else resolved


def _suit_length(resolved: RunSettings, settings: TrainSettings, data: Data) -> RunSettings:
    """Takes the defaults of short trainings where the training is one."""
    plan, space = resolved.training, resolved.space
    fewest = SHORT_EPOCHS * steps_per_epoch(len(data.train), plan.batch_size * plan.processes)
    if plan.length.steps >= fewest or _defaults_key(space.name, space.preset) in DEFAULTS:
        return resolved
    given = settings.given()
    changes = {name: value for name, value in SHORT_DEFAULTS.items() if name not in given}
    return resolved.replaced(training=plan.replaced(**changes))


def _suitable_preset(settings: TrainSettings, task: Task, device: str) -> str:
    """Chooses the largest preset that suits, if enough of its networks are within the limits."""
    smallest, *larger = suitable_presets(settings.space, task.size, device)
    for preset in reversed(larger):
        space = make_space(space_settings(settings, preset), task.dims).bind(task)
        if share_within(space, task, budget_of(settings), settings.seed) >= ENOUGH:
            return preset
    return smallest


def space_settings(settings: TrainSettings, preset: str | None) -> SpaceSettings:
    """Gives the settings of the space, with the digest of its source where it is the user's."""
    space = SpaceSettings(name=settings.space_name, preset=preset, options=settings.options)
    if is_user_code(space.name):
        space = space.replaced(source=source_digest(make_space(space, dims=2)))
    return space


def _defaults_key(space: str, preset: str | None) -> str:
    """Names the row of defaults: presets of memory banks have their own."""
    return preset if space == "memory-bank" and preset else space


def _fit_minutes(
    minutes: float, run: Run, network: SmashNetwork, settings: TrainSettings
) -> tuple[Run, SmashNetwork, Pace]:
    """Plans the number of steps, and takes slower defaults if there is time for them."""
    plan, space = run.settings.training, run.settings.space
    steps, pace = _steps_in(minutes, run, network)
    slower = LONG_DEFAULTS.get(_defaults_key(space.name, space.preset), {})
    if run.data.task.dims != 2:
        slower = {}
    fewest = LONG_EPOCHS * steps_per_epoch(len(run.data.train), plan.batch_size * plan.processes)
    # Steps that are too few already need not be timed with slower settings.
    if slower and steps >= fewest and not settings.given().keys() & slower.keys():
        other = Run(run.path, run.settings.replaced(training=plan.replaced(**slower)))
        other.data = run.data
        its_network = other.new_network()
        fewer, its_pace = _steps_in(minutes, other, its_network)
        if fewer >= fewest:
            run, network, steps, pace = other, its_network, fewer, its_pace
    run.take_length(Length(steps=steps))
    run.settings = _suit_length(run.settings, settings, run.data)
    return run, network, pace


def _steps_in(minutes: float, run: Run, network: SmashNetwork) -> tuple[int, Pace]:
    """Times steps of a run, which needs no folder yet; returns how many fit into the minutes."""
    begun = time.monotonic()
    device = torch.device(run.settings.device)
    trial = SmashTraining(
        copy.deepcopy(network).to(device),
        run.search_data.to(device),
        run.settings.training.replaced(length=Length(steps=TIMED_STEPS)),
        run.settings.seed,
        sampler=sampler_of(run),
    )
    pace = measure_pace(trial, 60 * minutes)
    left = 60 * minutes - (time.monotonic() - begun)
    return max(1, pace.steps_in(left, trial.per_epoch)), pace
