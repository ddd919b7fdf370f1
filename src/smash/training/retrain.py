"""Training a child network, from scratch or from generated weights: from what is asked to a child.

The loop itself is in `smash.training.child`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smash.config import ChildSettings, refuse_changes
from smash.errors import (
    AlreadyExistsError,
    InvalidValueError,
    NotFoundError,
)
from smash.evaluation import as_json
from smash.io.files import read_json, require, write_json
from smash.profiling.cost import count_macs
from smash.run.child import Child, child_name, of_weights, read_about
from smash.run.layout import ARCHITECTURE, RESULT
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.progress import Progress, silent
from smash.spaces.baselines import FITTED, fit_baseline, full_name, make_baseline
from smash.spaces.parameters import count_parameters
from smash.study.study import Candidate, Study
from smash.training.child import train_child
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
        about = _about_baseline(run, settings.baseline, settings.rank, announce)
        return _retrain(run, about, settings, progress)
    ranked = Study(run.study_path).ranked()
    top = settings.top
    if top is None:
        return _retrain(run, about_candidate(pick(ranked, settings.rank)), settings, progress)
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
        child = _retrain(run, about_candidate(candidate), brief, progress, kept_is_fine=True)
        error = errors[candidate.id] = child.error("val")
        seconds = sum(row["seconds"] for row in run.metrics_of(child.path).rows()[-1:])
        lines.append(f"rank {place}, {candidate.id}: {error:.2%}, {seconds:.0f} s of training")
    winner = min(ranked[:top], key=lambda candidate: errors[candidate.id])
    if announce:
        announce([*lines, f"{winner.id} is trained for {settings.epochs} epochs"])
    return _retrain(run, about_candidate(winner), settings, progress, kept_is_fine=True)


def about_candidate(candidate: Candidate) -> dict[str, Any]:
    """What is said of a child that is a candidate."""
    return {
        "id": candidate.id,
        "architecture": candidate.architecture,
        "params": candidate.params,
        "macs": candidate.macs,
    }


def _about_baseline(
    run: Run, baseline: str, rank: int, announce: Callable[[list[str]], None] | None
) -> dict[str, Any]:
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
    return {"id": baseline, "baseline": baseline, "params": params, "macs": macs}


def _candidate_beside(run: Run, family: str, rank: int) -> Candidate:
    """The candidate that a reference network is to stand beside."""
    try:
        ranked = Study(run.study_path).ranked()
    except NotFoundError:
        raise NotFoundError(
            f"baseline {family!r} takes its size from a candidate, and run {str(run.path)!r} has "
            "none: name one of a size, such as wrn-16-2 or resnet-20-16"
        ) from None
    return pick(ranked, rank)


def pick(ranked: Sequence[Candidate], rank: int) -> Candidate:
    """The candidate of a rank.

    Raises:
        NotFoundError: There is none.
    """
    if not ranked:
        raise NotFoundError("the run has no candidates yet: rank some with 'smash search'")
    if not 0 <= rank < len(ranked):
        raise NotFoundError(
            f"rank {rank} is not there: ranks go from 0, the best, to {len(ranked) - 1}"
        )
    return ranked[rank]


def _retrain(
    run: Run,
    about: dict[str, Any],
    settings: RetrainSettings,
    progress: Progress,
    *,
    kept_is_fine: bool = False,
) -> Child:
    asked, name = settings.child, settings.name
    check_start(run, asked)
    path = run.child_path(name or child_name(about["id"], asked))
    finished = (path / RESULT).is_file()
    check_begun(path, about, asked, of_that_name=name is not None and not finished)
    if finished and kept_is_fine:
        return _with_test(Child(path, run, read_about(path)), settings)
    if finished:
        raise AlreadyExistsError(
            f"child {path.name!r} was trained already and is kept: see it with "
            f"'smash evaluate {path}', or choose other --epochs or another --seed"
        )
    place = choose_device(settings.device)
    data = run.data.to(place)
    judged = {"val": data.val, "test": data.test} if settings.test else {"val": data.val}
    return train_child(run, path, about, asked, data, judged, place, progress)


def check_start(run: Run, settings: ChildSettings) -> None:
    """Makes sure that the SMASH network gives weights to children such as are trained.

    Raises:
        InvalidValueError: It gives them to the smaller ones of a proxy.
    """
    if settings.init == "generated" and run.search_space is not run.space:
        raise InvalidValueError(
            f"init must be 'scratch' in run {str(run.path)!r}, got 'generated': its SMASH network "
            "gives weights to smaller children; train one with --no-proxy-space"
        )


def check_begun(
    path: Path, about: Mapping[str, Any], settings: ChildSettings, *, of_that_name: bool = False
) -> None:
    """Makes sure that what is in a child's folder was begun as is asked now.

    Args:
        path: The folder; there may be nothing yet.
        about: What the child is.
        settings: How it is to be trained.
        of_that_name: Whether the user named it: then settings that change no weight count too.

    Raises:
        RunStateError: It is another child, was begun otherwise, or is damaged.
    """
    file = path / ARCHITECTURE
    if not file.is_file():
        return
    begun = read_json(file)
    require(begun, file, id=str, settings=dict)
    refuse_changes(
        {"id": begun["id"], **begun["settings"]},
        {"id": about["id"], **(settings.model_dump() if of_that_name else of_weights(settings))},
        since=f"child {path.name!r} was begun",
        mend="go on as it was begun, or choose another name",
    )


def _with_test(child: Child, settings: RetrainSettings) -> Child:
    """A finished child; one that was trained to choose by has not seen the test split yet."""
    result = child.result
    if settings.test and "test" not in result:
        found = child.evaluate("test", choose_device(settings.device))
        write_json(child.path / RESULT, {**result, "test": as_json(found)})
    return child
