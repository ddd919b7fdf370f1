"""`retrain`: from settings to a trained child network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from smash.config import ChildSettings, refuse_changes
from smash.errors import (
    AlreadyExistsError,
    InvalidValueError,
    NotFoundError,
)
from smash.profiling.cost import count_macs
from smash.run.child import (
    Child,
    ChildNetwork,
    child_name,
    read_record,
    settings_of_weights,
    write_result,
)
from smash.run.layout import ARCHITECTURE, RESULT
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.progress import Progress, silent
from smash.spaces.baselines import FITTED, fit_baseline, full_name, make_baseline
from smash.spaces.parameters import count_parameters
from smash.study.candidate import Candidate
from smash.study.study import Study
from smash.training.child import ChildJob, train_child
from smash.training.settings import RetrainSettings

_EQUAL = 1.3  # times as many parameters that a reference network may have, and be of equal size


def retrain(
    run: Run,
    settings: RetrainSettings | None = None,
    *,
    progress: Progress = silent,
    announce: Callable[[list[str]], None] | None = None,
    **changes: Any,
) -> Child:
    """Trains a candidate. An unfinished training of the same child is continued.

    Args:
        run: A run with ranked candidates; for a reference network any run, trained or not.
        settings: What is asked for.
        progress: Shows how far training is.
        announce: Called before training, with lines on what was chosen.
        **changes: Fields of `RetrainSettings`, which replace those of `settings`.

    Raises:
        InvalidValueError: A setting is wrong.
        NotFoundError: There is no candidate of this rank.
        AlreadyExistsError: This child was trained already.
        RunStateError: Another child was begun under this name.
        DivergedError: The loss is no longer finite.
    """
    settings = RetrainSettings.merged(settings, changes)
    if settings.ray is not None:
        raise InvalidValueError(
            f"ray trains several children at once, got {settings.ray!r} for one: leave it out"
        )
    if settings.baseline is not None:
        network = _baseline_network(run, settings.baseline, settings.rank, announce)
        return _retrain(run, network, settings, progress)
    ranked = Study(run.study_path).ranked()
    top = settings.top
    if top is None:
        return _retrain(run, network_of(pick(ranked, settings.rank)), settings, progress)
    if top > len(ranked):
        raise InvalidValueError(
            f"top must be from 1 to {len(ranked)}, the number of candidates, got {top}"
        )
    brief = settings.replaced(
        top=None,
        top_epochs=None,
        epochs=settings.top_epochs or max(1, settings.epochs // 5),
        name=None,
        test=False,
    )
    errors, lines = {}, [f"val error of each of the {top} best, epochs of training: {brief.epochs}"]
    for place, candidate in enumerate(ranked[:top]):
        child = _retrain(run, network_of(candidate), brief, progress, kept_is_fine=True)
        error = errors[candidate.id] = child.error("val")
        seconds = sum(row["seconds"] for row in run.metrics_of(child.path).rows()[-1:])
        lines.append(f"rank {place}, {candidate.id}: {error:.2%}, {seconds:.0f} s of training")
    winner = min(ranked[:top], key=lambda candidate: errors[candidate.id])
    if announce:
        announce([*lines, f"{winner.id} is trained for {settings.epochs} epochs"])
    return _retrain(run, network_of(winner), settings, progress, kept_is_fine=True)


def network_of(candidate: Candidate) -> ChildNetwork:
    """Returns the network of a candidate."""
    return ChildNetwork(
        id=candidate.id,
        architecture=dict(candidate.architecture),
        params=candidate.params,
        macs=candidate.macs,
    )


def _baseline_network(
    run: Run, baseline: str, rank: int, announce: Callable[[list[str]], None] | None
) -> ChildNetwork:
    beside = None
    if baseline.lower() in FITTED:
        beside = _candidate_beside(run, baseline, rank)
        baseline = fit_baseline(baseline.lower(), beside.params, run.data.task)
    baseline = full_name(baseline)
    network = make_baseline(baseline, run.data.task)
    macs = count_macs(network, run.data.task)
    params = count_parameters(network)
    if beside and announce:
        times = params / beside.params
        lines = [
            f"{baseline}: {params:,} parameters, the nearest of its family to the "
            f"{beside.params:,} of candidate {beside.id} of rank {rank}"
        ]
        if not 1 / _EQUAL <= times <= _EQUAL:
            lines.append(
                f"that is {times:.2g} times as many, so errors compare sizes too: a fairer one may "
                "be of the other family, --baseline resnet or wrn"
            )
        announce(lines)
    return ChildNetwork(id=baseline, baseline=baseline, params=params, macs=macs)


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


def pick(ranked: Sequence[Candidate], rank: int) -> Candidate:
    """Returns the candidate of a rank.

    Raises:
        NotFoundError: The rank does not exist.
    """
    if not ranked:
        raise NotFoundError("the run has no candidates yet: rank some with 'smash search'")
    if not 0 <= rank < len(ranked):
        raise NotFoundError(
            f"rank {rank} does not exist: ranks go from 0, the best, to {len(ranked) - 1}"
        )
    return ranked[rank]


def _retrain(
    run: Run,
    network: ChildNetwork,
    settings: RetrainSettings,
    progress: Progress,
    *,
    kept_is_fine: bool = False,
) -> Child:
    check_start(run, settings.child)
    name = settings.name or child_name(network.id, settings.child)
    job = ChildJob(run.child_path(name), network, settings.child)
    finished = (job.path / RESULT).is_file()
    check_begun(job, of_that_name=settings.name is not None and not finished)
    if finished and kept_is_fine:
        return _with_test(Child(job.path, run, read_record(job.path)), settings)
    if finished:
        raise AlreadyExistsError(
            f"child {name!r} was trained already and is kept: see it with "
            f"'smash evaluate {job.path}', or choose other --epochs or another --seed"
        )
    device = choose_device(settings.device)
    data = run.data.to(device)
    splits = {"val": data.val, "test": data.test} if settings.test else {"val": data.val}
    return train_child(run, job, data, splits, device, progress)


def check_start(run: Run, settings: ChildSettings) -> None:
    """Checks that the SMASH network can generate the initial weights of children.

    Raises:
        InvalidValueError: It generates weights for the smaller children of a proxy space.
    """
    if settings.init == "generated" and run.search_space is not run.space:
        raise InvalidValueError(
            f"init must be 'scratch' in run {str(run.path)!r}, got 'generated': its SMASH network "
            "gives weights to smaller children; train one with --no-proxy-space"
        )


def check_begun(job: ChildJob, *, of_that_name: bool = False) -> None:
    """Checks that a child whose training has begun is continued as it began.

    Args:
        job: The child; its folder need not exist.
        of_that_name: Whether the user named the child: then settings that change no weight count
            as well.

    Raises:
        RunStateError: The folder holds another child, or is damaged, or settings differ.
    """
    if not (job.path / ARCHITECTURE).is_file():
        return
    begun, settings = read_record(job.path), job.settings
    now = settings.model_dump() if of_that_name else settings_of_weights(settings)
    refuse_changes(
        {"id": begun.id, **begun.settings.model_dump()},
        {"id": job.network.id, **now},
        since=f"child {job.path.name!r} was begun",
        mend="continue with the same settings, or choose another name",
    )


def _with_test(child: Child, settings: RetrainSettings) -> Child:
    """Evaluates a finished child on the test split if that was not done in a brief training."""
    result = child.result
    if settings.test and "test" not in result:
        found = child.evaluate("test", choose_device(settings.device))
        write_result(child.path, {**result, "test": found})
    return child
