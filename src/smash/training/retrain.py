"""`retrain`: from settings to a trained child network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smash.errors import NotFoundError, RunStateError
from smash.profiling.cost import cost_of
from smash.run.child import Child
from smash.run.child_folder import ChildNetwork, read_record
from smash.run.layout import ARCHITECTURE, RESULT
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.progress import Announce, Progress, automatic
from smash.spaces.baseline_names import FITTED, full_name
from smash.spaces.baselines import fit_baseline, make_baseline
from smash.study.candidate import Candidate
from smash.study.ranking import pick
from smash.study.study import Study
from smash.training.child import ChildJob, check_begun, check_start, network_of, train_child
from smash.training.children import copy_child, with_test, with_val
from smash.training.finals import choose_winner, describe_finals
from smash.training.settings import RetrainSettings
from smash.training.workers import open_trainer

_EQUAL = 1.3  # times as many parameters that a reference network may have, and be of equal size


def retrain(
    run: Run | str | Path,
    settings: RetrainSettings | None = None,
    *,
    progress: Progress = automatic,
    announce: Announce | None = None,
    **changes: Any,
) -> Child:
    """Trains a candidate. An unfinished training of the same child is continued.

    Args:
        run: A run, or its folder, with ranked candidates; for a reference network any run, trained
            or not.
        settings: What is asked for.
        progress: Shows how far training is.
        announce: Called before training, with lines on what was chosen.
        **changes: Fields of `RetrainSettings`, which replace those of `settings`.

    Raises:
        InvalidValueError: A setting is wrong.
        NotFoundError: There is no candidate of this rank.
        RunStateError: Another child was begun under this name.
        DivergedError: The loss is no longer finite.

    Example:
        >>> child = retrain("runs/digits", rank=0, epochs=1, test=True)
        >>> sorted(child.result)
        ['test', 'train', 'val']
    """
    run, settings = Run.of(run), RetrainSettings.merged(settings, changes)
    check_start(run, settings.child)
    if settings.baseline is not None:
        network = _baseline_network(run, settings.baseline, settings.rank or 0, announce)
        return _retrain(run, network, settings, progress, announce)
    ranked = Study(run.study_path).ranked()
    if settings.rank is None:
        chosen = _named_before(run, ranked, settings.name)
    else:
        chosen = pick(ranked, settings.rank)
    if chosen is not None:
        return _retrain(run, network_of(chosen), settings, progress, announce)
    with open_trainer(run, settings, pick(ranked, 0).macs) as executor:
        winner, finals = choose_winner(run, ranked, settings, progress, executor)
    if finals and announce:
        announce([*describe_finals(finals), f"{winner.id} is the winner"])
    if finals and settings.name is not None:  # the same training would give the same files
        copy_child(ChildJob.of(run, network_of(winner), settings.child), settings.name)
    return _retrain(run, network_of(winner), settings, progress, None if finals else announce)


def _named_before(run: Run, ranked: Sequence[Candidate], name: str | None) -> Candidate | None:
    """Finds the candidate whose training was begun under a name.

    Raises:
        RunStateError: The child of that name is no candidate.
    """
    if name is None or not (run.child_path(name) / ARCHITECTURE).is_file():
        return None
    begun = read_record(run.child_path(name)).id
    for candidate in ranked:
        if candidate.id == begun:
            return candidate
    raise RunStateError(
        f"child {name!r} is {begun!r}, which is no candidate of this search: choose another name"
    )


def _baseline_network(
    run: Run, baseline: str, rank: int, announce: Announce | None
) -> ChildNetwork:
    beside = None
    if baseline.lower() in FITTED:
        beside = _candidate_beside(run, baseline, rank)
        baseline = fit_baseline(baseline.lower(), beside.params, run.data.task)
    baseline = full_name(baseline)
    network = make_baseline(baseline, run.data.task)
    cost = cost_of(network, run.data.task)
    if beside and announce:
        times = cost.params / beside.params
        lines = [
            f"{baseline}: {cost.params:,} parameters, the nearest of its family to the "
            f"{beside.params:,} of candidate {beside.id} of rank {rank}"
        ]
        if not 1 / _EQUAL <= times <= _EQUAL:
            lines.append(
                f"that is {times:.2g} times as many, so errors compare sizes too: a fairer one may "
                "be of the other family, --baseline resnet or wrn"
            )
        announce(lines)
    identity = baseline.replace(":", "-")  # it names a folder
    return ChildNetwork(id=identity, baseline=baseline, **asdict(cost))


def _candidate_beside(run: Run, family: str, rank: int) -> Candidate:
    """Finds the candidate whose size a reference network takes."""
    try:
        ranked = Study(run.study_path).ranked()
    except NotFoundError:
        raise NotFoundError(
            f"baseline {family!r} takes its size from a candidate, and run {str(run.path)!r} has "
            "none: name one of a size, such as wrn-16-2 or resnet-20-16"
        ) from None
    return pick(ranked, rank)


def _retrain(
    run: Run,
    network: ChildNetwork,
    settings: RetrainSettings,
    progress: Progress,
    announce: Announce | None,
) -> Child:
    job = ChildJob.of(run, network, settings.child, settings.name)
    finished = (job.path / RESULT).is_file()
    check_begun(job, of_that_name=settings.name is not None and not finished)
    if finished:
        if announce:
            announce([f"child {job.path.name!r} was trained already, and is kept"])
        child = Child.read(job.path, run)
        if settings.test and "test" not in child.result:  # the finals looked at validation alone
            child.evaluate("test", choose_device(settings.device))
        return child
    device = choose_device(settings.device)
    data, splits = (with_test if settings.test else with_val)(run.data, device)
    return train_child(run, job, data, splits, device, progress)
