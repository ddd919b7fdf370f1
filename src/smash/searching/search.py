"""The search: ranks architectures of a trained run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch

from smash.config import refuse_changes
from smash.exporting.latency import CommandTimer
from smash.io.locks import hold
from smash.io.measurements import MeasurementLog
from smash.profiling.feasible import quick_draw
from smash.profiling.latency import ChildTimer, Stopwatch
from smash.profiling.names import COUNTED
from smash.profiling.table_timer import TableTimer
from smash.run.layout import LATENCIES, STORAGE, STUDY, check_trained
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.executor import Executor
from smash.runtime.progress import Progress, automatic
from smash.runtime.ray_executor import open_executor
from smash.runtime.signals import hear_interruption
from smash.scoring.priors import check_effects
from smash.scoring.scorer import Scorer
from smash.searching.clock import Clock
from smash.searching.loop import SearchLoop
from smash.searching.proposals import Proposer
from smash.searching.settings import SearchSettings
from smash.searching.strategies import (
    GradientPerturbation,
    MarkovChain,
    Nsga2,
    Perturbation,
    RandomSampling,
    RegularisedEvolution,
    Strategy,
)
from smash.study.postgres import Server
from smash.study.study import Study


def search(
    run: Run | str | Path,
    settings: SearchSettings | None = None,
    *,
    progress: Progress = automatic,
    on_begin: Callable[[Run], None] | None = None,
    **changes: Any,
) -> Study:
    """Ranks architectures: random ones, mutations of the best, and a Markov chain from there.

    With evolution, it evolves the random ones instead; for several objectives by NSGA-II. Called
    again with the same settings it resumes; larger numbers or more minutes extend the study; if all
    is done it changes nothing.

    Args:
        run: A run, or its folder, whose training has finished.
        settings: The settings; the defaults if None.
        progress: Shows progress.
        on_begin: Called with the run before the search.
        **changes: Fields of `SearchSettings` that replace those of `settings`.

    Returns:
        The study, with all candidates.

    Raises:
        InvalidValueError: A setting is wrong, or no architecture is within the limits.
        RunStateError: Training has not finished, the study was made with other settings or
            elsewhere, or another process searches this run.
        ServerError: The server of the study fails.
        CommandError: The command that measures latency failed twice.
        DataError: The table of latencies is malformed.

    Example:
        >>> study = search("runs/digits", random=3, perturb=1, markov=1)
        >>> len(study.ranked())
        5
    """
    begun, run = time.monotonic(), Run.of(run)
    settings = SearchSettings.merged(settings, changes).resolved(run.settings.space.name)
    settings = inherit_limits(settings, run)
    check_trained(run.path)
    server = Server.choose(run.path, settings.storage)
    device = choose_device(settings.device)
    network = run.network(device)
    space, task = run.space, run.data.task
    check_effects(settings.prior, space.smallest())  # before anything is written
    if on_begin:
        on_begin(run)
    if settings.strategy == "gradient":
        network.check_slope()  # now, and not after all random architectures were scored
    lock = nullcontext() if server else hold(run.path, "search")
    with ExitStack() as stack:
        executor = stack.enter_context(open_executor(settings.ray, settings.device))
        stopwatch = _stopwatch(run, settings, device, executor)
        settings.budget.check_feasible(space, task, stopwatch)
        stack.enter_context(lock)
        study = Study(run.study_path, space, create=True, server=server)
        with study.claim("settings", wait=True):
            _keep_settings(study, settings, run)
        scorer = Scorer(
            network,
            run.search_data.to(device),
            rank_by=settings.rank_by,
            examples=settings.examples,
            split=settings.split,
            precision=settings.precision,
            batch_size=settings.batch_size,
            snapshots=run.snapshots(device),
        )
        timer = stopwatch if settings.times_children else None
        ahead = timer.measure_ahead if timer and timer.is_parallel else None
        proposer = Proposer(space, task, settings.budget, settings.seed, timer, ahead)
        clock = None
        if settings.minutes is not None:
            clock = Clock(60 * settings.minutes, begun, study.timetable)
        with hear_interruption() as interruption:
            loop = SearchLoop(run, study, scorer, proposer, settings, executor, interruption, clock)
            loop.run(_phases(run, settings, scorer), progress)
        return study


def _stopwatch(
    run: Run, settings: SearchSettings, device: torch.device, executor: Executor
) -> Stopwatch[Any]:
    """Makes the stopwatch of a search: of this machine, or by a table or command of the user."""
    space, task, log = run.space, run.data.task, MeasurementLog(run.path / LATENCIES)
    if settings.latency_table is not None:
        return Stopwatch(space, TableTimer(space, task, Path(settings.latency_table)), log)
    if settings.latency_command is None:
        return Stopwatch(space, ChildTimer(space, task, device), log)
    command, timeout = settings.latency_command, settings.latency_timeout
    timer = CommandTimer(run, command, settings.latency_format, timeout, executor)
    limits = {"max_memory": settings.max_memory, "max_flash": settings.max_flash}
    return Stopwatch(space, timer, log, **limits)


def inherit_limits(settings: SearchSettings, run: Run) -> SearchSettings:
    """Takes over the limits of the training, where the search has none of its own."""
    plan = run.settings.training
    inherited = {
        f"max_{name}": limit
        for name in COUNTED
        if (limit := getattr(plan, f"max_{name}")) is not None
        and getattr(settings, f"max_{name}") is None
    }
    return settings.replaced(**inherited) if inherited else settings


def _phases(
    run: Run, settings: SearchSettings, scorer: Scorer
) -> Sequence[tuple[Strategy[Any], int]]:
    """Lists the strategies in their order, and the number of proposals of each."""
    space, rate = run.space, settings.rate
    perturbation: Strategy[Any] = Perturbation(space, rate)
    if settings.strategy == "gradient":
        perturbation = GradientPerturbation(space, scorer.slope, rate)
    evolution: Strategy[Any] = RegularisedEvolution(space, rate)
    if settings.strategy == "nsga2":
        evolution = Nsga2(space, settings.objectives, rate)
    draw = quick_draw(space, run.data.task, settings.budget, settings.seed)
    phases = (
        (RandomSampling(space, draw), settings.random),
        (perturbation, settings.perturb),
        (MarkovChain(space, rate), settings.markov),
        (evolution, settings.evolve),
    )
    return [(strategy, count) for strategy, count in phases if count]


def _keep_settings(study: Study, settings: SearchSettings, run: Run) -> None:
    """Stores the settings of the first search, and refuses a later one with others.

    A search that ended before its first candidate binds nothing.
    """
    identity = settings.identity()
    if study.settings is None or not (study.shared or study.candidates()):
        study.settings = identity
        return
    refuse_changes(
        study.settings,
        identity,
        since=f"the search of {str(run.path)!r} began",
        mend="use that value, or search in a copy of the run without its "
        + (STORAGE if study.shared else STUDY),
    )
