"""Training a SMASH network: from what is asked for to a run that is trained.

What is asked for becomes settings in `smash.training_settings`; the loop is `smash.training_loop`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from smash.config import SpaceSettings, refuse_changes
from smash.cost import survey
from smash.curves import check_tensorboard
from smash.data import Data
from smash.device import choose_device
from smash.durable import make_folder
from smash.errors import InvalidValueError, RunStateError
from smash.layout import check_free
from smash.locking import hold
from smash.processes import join
from smash.progress import Progress, silent
from smash.run import Run
from smash.training_loop import TrainingLoop, steps_per_epoch
from smash.training_settings import check_settings, settle


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


def _choices(run: Run) -> list[str]:
    """What was chosen."""
    settings, lines = run.settings, []
    training = settings.training
    size = training.batch_size * training.processes
    epochs = training.steps / steps_per_epoch(len(run.data.train), size)
    lines.append(
        f"{_named(settings.space)}, {training.steps:,} steps of {size} "
        f"({epochs:.3g} epoch{'' if epochs == 1 else 's'}) on {settings.device}"
    )
    proxies = []
    if (smaller := run.search_data.task.size) != run.data.task.size:
        proxies.append(f"from {'×'.join(map(str, smaller))}")
    if run.search_space is not run.space:
        proxies.append("with the smaller children of the space's proxy")
    if proxies:
        lines.append(f"learns and ranks {' '.join(proxies)}; children are trained as asked for")
    if epochs < 1:
        lines.append(
            f"{training.steps:,} steps are less than one epoch: more --minutes, or a machine that "
            "does nothing else, would rank better"
        )
    return lines


def _sizes(run: Run) -> list[str]:
    """How large the children of the space are; it takes a second or two to find out."""
    costs = survey(run.space, run.data.task)
    smallest, median, largest = costs[0], costs[len(costs) // 2], costs[-1]
    sizes = " / ".join(f"{cost.params:,}" for cost in (smallest, median, largest))
    line = f"nominal budget: children of {sizes} parameters (smallest / median / largest of 200)"
    if (reference := run.space.reference()) is not None:
        line += f", {reference[0]} without classifier {reference[1]:,}"
    return [line]


def _named(space: SpaceSettings) -> str:
    return f"preset {space.preset}" if space.preset else f"space {space.name}"


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
