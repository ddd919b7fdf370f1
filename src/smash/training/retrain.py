"""Training a child network, from scratch or from generated weights: from what is asked to a child.

The loop itself is in `smash.training.child`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smash.config import RetrainSettings, refuse_changes
from smash.errors import (
    AlreadyExistsError,
    InvalidValueError,
    NotFoundError,
    faults_of,
)
from smash.evaluation import as_json
from smash.io.files import read_json, require, write_json
from smash.profiling.cost import count_macs
from smash.run.child import Child, child_name, of_weights, read_about
from smash.run.layout import ARCHITECTURE, RESULT, child_path
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.progress import Progress, silent
from smash.runtime.ray_executor import check_address
from smash.spaces.baselines import FITTED, fit_baseline, full_name, make_baseline
from smash.spaces.parameters import count_parameters
from smash.study.study import Candidate, Study
from smash.training.child import train_child

_EQUAL = 1.3  # times as many parameters that a reference network may have, and be of equal size


def retrain(
    run: Run,
    rank: int = 0,
    *,
    top: int | None = None,
    top_epochs: int | None = None,
    baseline: str | None = None,
    name: str | None = None,
    device: str = "auto",
    test: bool = True,
    progress: Progress = silent,
    announce: Callable[[list[str]], None] | None = None,
    **settings: Any,
) -> Child:
    """Trains a candidate. An unfinished training of the same child is continued.

    Args:
        run: A run with ranked candidates; for a reference network any run, trained or not.
        rank: Which candidate: 0 is the best.
        top: Train this many of the best briefly, keep the one with the lowest validation error,
            and train that fully, unless that was done already; `rank` must then be left out.
        top_epochs: How long the brief trainings are; a fifth of the full one where None.
        baseline: Train this reference network instead (`make_baseline` says which there are);
            ``resnet`` or ``wrn`` alone is the one of that family that is nearest to the candidate
            `rank` in parameters.
        name: Name of the child's folder; its id and what differs from the default recipe if None.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        test: Evaluate on the test split at the end.
        progress: Shows how far it is.
        announce: Called before training, with lines on what was chosen.
        **settings: Fields of `RetrainSettings`.

    Raises:
        InvalidValueError: A setting is wrong.
        NotFoundError: There is no candidate of this rank.
        AlreadyExistsError: This child was trained already.
        RunStateError: Another child was begun under this name.
        DivergedError: The loss is no longer finite.
    """
    asked = check_asked(
        settings, device, baseline=baseline, name=name, rank=rank, top=top, top_epochs=top_epochs
    )
    if baseline is not None:
        about = _about_baseline(run, baseline, asked, rank, top, announce)
        return _retrain(run, about, asked, name, device, test, progress)
    ranked = Study(run.study_path).ranked()
    if top is None:
        about = about_candidate(pick(ranked, rank))
        return _retrain(run, about, asked, name, device, test, progress)
    if not 1 <= top <= len(ranked):
        raise InvalidValueError(
            f"top must be from 1 to {len(ranked)}, the number of candidates, got {top}"
        )
    brief = asked.replaced(epochs=max(1, asked.epochs // 5) if top_epochs is None else top_epochs)
    errors, lines = {}, [f"val error of each of the {top} best, epochs of training: {brief.epochs}"]
    for place, candidate in enumerate(ranked[:top]):
        child = _retrain(
            run, about_candidate(candidate), brief, None, device, False, progress, kept_is_fine=True
        )
        error = errors[candidate.id] = child.error("val")
        seconds = sum(row["seconds"] for row in run.metrics_of(child.path).rows()[-1:])
        lines.append(f"rank {place}, {candidate.id}: {error:.2%}, {seconds:.0f} s of training")
    winner = min(ranked[:top], key=lambda candidate: errors[candidate.id])
    if announce:
        announce([*lines, f"{winner.id} is trained for {asked.epochs} epochs"])
    return _retrain(
        run, about_candidate(winner), asked, name, device, test, progress, kept_is_fine=True
    )


def check_asked(
    settings: Mapping[str, Any],
    device: str,
    *,
    baseline: str | None = None,
    name: str | None = None,
    rank: int = 0,
    top: int | None = None,
    top_epochs: int | None = None,
    ray: str | None = None,
) -> RetrainSettings:
    """Looks at what was asked for before data is loaded, which may take its time.

    Raises:
        InvalidValueError: Settings are wrong; all faults.
    """
    named = baseline is not None and baseline.lower() not in FITTED
    faults = faults_of(
        lambda: RetrainSettings(**settings),
        lambda: choose_device(device),
        lambda: not named or full_name(str(baseline)),
        lambda: name is None or child_path(Path(), name),
        lambda: check_address(ray),
        lambda: _check_top(rank, top, top_epochs),
    )
    if faults:
        raise InvalidValueError(*faults)
    asked = RetrainSettings(**settings)
    if top is not None and top_epochs is None and asked.epochs < 2:
        raise InvalidValueError(
            f"epochs must be at least 2 with top {top}, got {asked.epochs}: brief trainings choose "
            "which is trained for longer"
        )
    if top_epochs is not None and not 1 <= top_epochs < asked.epochs:
        raise InvalidValueError(
            f"top_epochs must be from 1 to less than the {asked.epochs} epochs of the full "
            f"training, got {top_epochs}: choose fewer, or more epochs"
        )
    return asked


def _check_top(rank: int, top: int | None, top_epochs: int | None) -> None:
    """Whether what is for the K best alone, and what is for one, are apart."""
    faults = []
    if top is None and top_epochs is not None:
        faults.append(
            f"top_epochs is for the brief trainings of top, got {top_epochs} without top: leave it "
            "out, or add top"
        )
    if top is not None and rank:
        faults.append(
            f"top begins at rank 0, got top {top} with rank {rank}: leave one of them out"
        )
    if faults:
        raise InvalidValueError(*faults)


def about_candidate(candidate: Candidate) -> dict[str, Any]:
    """What is said of a child that is a candidate."""
    return {
        "id": candidate.id,
        "architecture": candidate.architecture,
        "params": candidate.params,
        "macs": candidate.macs,
    }


def _about_baseline(
    run: Run,
    baseline: str,
    settings: RetrainSettings,
    rank: int,
    top: int | None,
    announce: Callable[[list[str]], None] | None,
) -> dict[str, Any]:
    faults = []
    if settings.init != "scratch":
        faults.append(
            f"init must be 'scratch' for the reference network {baseline!r}, got "
            f"{settings.init!r}: weights are generated for candidates only"
        )
    if top is not None:
        faults.append(f"top is for candidates, got {top} with baseline {baseline!r}: leave it out")
    if faults:
        raise InvalidValueError(*faults)
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
    name: str | None,
    device: str,
    test: bool,
    progress: Progress,
    *,
    kept_is_fine: bool = False,
) -> Child:
    check_start(run, settings)
    path = run.child_path(name or child_name(about["id"], settings))
    finished = (path / RESULT).is_file()
    check_begun(path, about, settings, of_that_name=name is not None and not finished)
    if finished and kept_is_fine:
        return _with_test(Child(path, run, read_about(path)), device, test)
    if finished:
        raise AlreadyExistsError(
            f"child {path.name!r} was trained already and is kept: see it with "
            f"'smash evaluate {path}', or choose other --epochs or another --seed"
        )
    place = choose_device(device)
    data = run.data.to(place)
    judged = {"val": data.val, "test": data.test} if test else {"val": data.val}
    return train_child(run, path, about, settings, data, judged, place, progress)


def check_start(run: Run, settings: RetrainSettings) -> None:
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
    path: Path, about: Mapping[str, Any], settings: RetrainSettings, *, of_that_name: bool = False
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
    recipe = {"recipe": dict} if "recipe" in begun else {}  # of earlier releases
    require(begun, file, id=str, **recipe)
    refuse_changes(
        {"id": begun["id"], **RetrainSettings().model_dump(), **begun.get("recipe", {})},
        {"id": about["id"], **(settings.model_dump() if of_that_name else of_weights(settings))},
        since=f"child {path.name!r} was begun",
        mend="go on as it was begun, or choose another name",
    )


def _with_test(child: Child, device: str, test: bool) -> Child:
    """A finished child; one that was trained to choose by has not seen the test split yet."""
    result = child.result
    if test and "test" not in result:
        found = child.evaluate("test", choose_device(device))
        write_json(child.path / RESULT, {**result, "test": as_json(found)})
    return child
