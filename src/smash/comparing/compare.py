"""Comparison of the winner with other candidates and with plain networks of equal cost.

All are trained with the same settings and the same seeds. Candidates are chosen by their rank, and
the recommendation by validation error; the test split only reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smash.comparing.comparison import RANDOM, Comparison, Contestant
from smash.comparing.networks import (
    Entrant,
    Selection,
    check_baselines,
    check_families,
    distinct,
)
from smash.comparing.settings import CompareSettings
from smash.comparing.verdict import against_random, of_one_seed, of_untimed, verdict
from smash.data import Data, Split
from smash.errors import InvalidValueError
from smash.evaluation import predict
from smash.evaluation.trainings import (
    Wrong,
    difference_interval,
    mean_difference_interval,
    mean_error_interval,
    spreads_of,
)
from smash.exporting.latency import CommandTimer
from smash.io.measurements import MeasurementLog
from smash.profiling.budget import Budget
from smash.profiling.command import command_name
from smash.profiling.latency import ChildTimer, NetworkStopwatch
from smash.profiling.names import COUNTED
from smash.run.child import Child
from smash.run.layout import COMPARED_LATENCIES, COMPARISON
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.executor import Executor
from smash.runtime.progress import Announce, Progress, automatic
from smash.study.candidate import Candidate
from smash.study.ranking import pick
from smash.study.study import Study
from smash.training.child import ChildJob
from smash.training.children import train_children, with_test
from smash.training.finals import choose_winner, describe_finals
from smash.training.workers import open_trainer


def compare(
    run: Run | str | Path,
    settings: CompareSettings | None = None,
    *,
    progress: Progress = automatic,
    announce: Announce | None = None,
    **changes: Any,
) -> Comparison:
    """Trains the winner, other candidates and plain networks alike, and tells which is best.

    Networks that were trained with the same settings are kept, so a comparison that was
    interrupted goes on.

    Args:
        run: A run, or its folder, with ranked candidates.
        settings: Settings of the comparison.
        progress: Shows how far the trainings are.
        announce: Called before training, with lines on what is compared.
        **changes: Fields of `CompareSettings`, which replace those of `settings`.

    Raises:
        InvalidValueError: A setting is wrong.
        NotFoundError: The run has no candidates.
        DivergedError: A loss is no longer finite.
        CommandError: The command that measures latency failed twice.

    Example:
        >>> comparison = compare("runs/digits", ranks="0", epochs=1, random=0, families=["cnn"])
        >>> [each.role for each in comparison.contestants]
        ['winner', 'median-ranked', 'plain']
    """
    run, settings = Run.of(run), CompareSettings.merged(settings, changes)
    study = Study(run.study_path)
    ranked = study.ranked()
    with open_trainer(run, settings, pick(ranked, 0).macs) as executor:
        return _compare(run, study, ranked, settings, progress, announce, executor)


def _compare(
    run: Run,
    study: Study,
    ranked: Sequence[Candidate],
    settings: CompareSettings,
    progress: Progress,
    announce: Announce | None,
    executor: Executor,
) -> Comparison:
    task, device = run.data.task, choose_device(settings.device)
    stopwatch = _stopwatch(run, study, settings, device, executor)
    # Faults are told before the finals, which take long.
    check_families(settings.families, task.dims)
    check_baselines(settings.baselines, task)
    if settings.rank_numbers:
        chosen = [pick(ranked, rank) for rank in settings.rank_numbers]
    else:
        winner, finals = choose_winner(run, ranked, settings, progress, executor)
        chosen = [winner]
        if finals and announce:
            announce(describe_finals(finals))
    selection = Selection(run.space, task, _limits(study), stopwatch)
    entrants = distinct(
        *selection.candidates(ranked, chosen, settings),
        *selection.plain(chosen[0], settings.families),
        *(selection.named(name, chosen[0]) for name in settings.baselines),
    )
    seeds = range(settings.seed, settings.seed + settings.seeds)
    if announce:
        announce(
            [f"{each.role}: {each.network.id}, {each.network.params:,} parameters, "
             f"{each.network.macs:,} MACs" for each in entrants]
        )  # fmt: skip
    jobs = [
        ChildJob.of(run, each.network, child)
        for each in entrants
        for child in (settings.child.replaced(seed=seed) for seed in seeds)
    ]
    unique = list({job.path: job for job in jobs}.values())
    trained = train_children(run, unique, with_test, settings.device, progress, executor)
    children = {child.path: child for child in trained}
    for child in trained:
        if "test" not in child.result:
            child.evaluate("test", device)  # which its result keeps: this look is counted
    of_network = [
        [children[job.path] for job in jobs[start : start + len(seeds)]]
        for start in range(0, len(jobs), len(seeds))
    ]
    comparison = _judge(run.data.to(device), entrants, of_network, settings, device)
    comparison.write(run.path / COMPARISON)
    return comparison


def _stopwatch(
    run: Run, study: Study, settings: CompareSettings, device: torch.device, executor: Executor
) -> NetworkStopwatch | None:
    """Makes a stopwatch that times networks as the search did; None where that is not possible.

    The times are kept apart from those of the search, when other work may have run beside it.

    Raises:
        InvalidValueError: The search was timed by another command, or by none.
    """
    searched, given = study.settings or {}, settings.latency_command
    expected = searched.get("latency_command")
    if given is not None and command_name(given) != expected:
        remedy = f"give the one that ran {expected}" if expected else "leave it out"
        raise InvalidValueError(
            f"latency_command must be that of the search, got {given!r:.100}: {remedy}"
        )
    log = MeasurementLog(run.path / COMPARED_LATENCIES)
    if given is not None:
        form, timeout = searched["latency_format"], settings.latency_timeout
        timer = CommandTimer(run, given, form, timeout, executor)
        limits = {name: searched.get(name) for name in ("max_memory", "max_flash")}
        return NetworkStopwatch(run.space, timer, log, **limits)
    if expected or searched.get("latency_table"):
        return None
    return NetworkStopwatch(run.space, ChildTimer(run.space, run.data.task, device), log)


def _limits(study: Study) -> Budget:
    """Gives the limits of the search."""
    settings = study.settings or {}
    return Budget(**{name: settings.get(name) for name in Budget.model_fields})


def _judge(
    data: Data,
    entrants: Sequence[Entrant],
    children: Sequence[Sequence[Child]],
    settings: CompareSettings,
    device: torch.device,
) -> Comparison:
    wrongs: dict[str, list[Wrong]] = {"val": [], "test": []}
    for trained in children:
        models = [child.model(device) for child in trained]
        for name, split in (("val", data.val), ("test", data.test)):
            found = [misclassified(model, split, data).cpu().numpy() for model in models]
            wrongs[name].append(np.stack(found))
    spreads = {name: spreads_of(each) for name, each in wrongs.items()}
    contestants = []
    for index, (entrant, trained) in enumerate(zip(entrants, children, strict=True)):
        val, test = wrongs["val"][index], wrongs["test"][index]
        seconds = [child.run.metrics_of(child.path).rows()[-1]["seconds"] for child in trained]
        contestants.append(
            Contestant(
                role=entrant.role,
                name=entrant.network.id,
                **entrant.network.model_dump(include=set(COUNTED)),
                latency=entrant.latency,
                minutes=round(float(np.mean(seconds)) / 60, 2),
                val=mean_error_interval(val, spreads["val"][index]),
                test=mean_error_interval(test, spreads["test"][index]),
                behind=difference_interval(
                    test, wrongs["test"][0], spreads["test"][index], spreads["test"][0]
                ),
            )
        )
    drawn = [
        wrong
        for entrant, wrong in zip(entrants, wrongs["test"], strict=True)
        if entrant.role == RANDOM
    ]
    random = mean_difference_interval(drawn, wrongs["test"][0], spreads["test"][0])
    return Comparison(
        length=settings.length_in_words,
        seeds=settings.seeds,
        val_examples=len(data.val),
        test_examples=len(data.test),
        contestants=contestants,
        random=random,
        verdict=" ".join(
            [
                verdict(contestants),
                *against_random(len(drawn), random),
                *of_one_seed(settings.seeds),
                *of_untimed(contestants),
            ]
        ),
    )


@torch.no_grad()
def misclassified(model: nn.Module, examples: Split, data: Data) -> Tensor:
    """Tells which examples a child in eval mode classifies wrongly, shape (n,), bool."""
    return predict(model, examples, data.normalise).argmax(1) != examples.labels
