"""Finals: true trainings decide among the best-ranked candidates (successive halving).

A ranking by generated weights is coarse among candidates of nearly the same cost. So the best of it
are trained for a few epochs each, the best quarter for four times as many, and so on (Jamieson &
Talwalkar 2016); the last two to four are trained in full. They learn from the training split and
are judged on the validation split, in brief trainings at the size of images that the SMASH network
learned from. Each is a child of the run, so that finals that were interrupted go on, and the winner
need not be trained again.

A few hundred validation examples leave much of the choice to luck. So candidates are judged by the
expected error, to which each example contributes the probability of its being missed, rather than
by a count of mistakes. With several folds each candidate is trained as often, and judged by the
mean over the validation split and parts of the training split (repeated hold-out).

The first of a ranking are often mutants of each other, which hardly differ once they are trained.
So a candidate that is much like a better one is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from smash.config import ChildSettings
from smash.data import Data, Split, shrink
from smash.data.splits import FOLD_SEED, cut_folds
from smash.evaluation import Evaluation
from smash.io.records import Record
from smash.run.child_folder import child_name
from smash.run.layout import BRIEF, FINALS
from smash.run.run import Run
from smash.runtime.executor import Executor
from smash.runtime.progress import Progress, silent
from smash.spaces.base import SearchSpace
from smash.study.candidate import Candidate
from smash.study.ranking import pick
from smash.training.child import ChildJob, network_of
from smash.training.children import train_children, with_val
from smash.training.settings import FinalsSettings

_FACTOR = 4  # 1 of so many goes on; with 2 the winner was not better, and took half as long again
_LAST = 4  # the most that are trained in full
_ALIKE = 0.5  # of the typical distance between candidates
_TYPICAL = 64  # candidates, from all over the ranking, whose distances tell the typical one


class Finalist(Record):
    """A candidate after the training of a rung; its errors are on the validation split, 0…1."""

    id: str
    rank: int
    error: float
    expected_error: float


class Rung(Record):
    """Candidates that were trained alike, that of the lowest expected error first.

    Attributes:
        epochs: Length of each training.
        side: Extent of their inputs.
        folds: Trainings of each, on as many parts of the data, over which errors are means.
        finalists: The candidates.
    """

    epochs: int
    side: int
    folds: int = 1
    finalists: list[Finalist]


class Finals(Record):
    """The rungs of successive halving; stored in the run folder as ``finals.json``.

    Example:
        >>> few = Finalist(id="3f2a", rank=4, error=0.02, expected_error=0.04)
        >>> Finals(rungs=[Rung(epochs=4, side=32, finalists=[few])]).winner
        '3f2a'
    """

    rungs: list[Rung]

    @property
    def winner(self) -> str:
        """The id of the best of the last rung."""
        return self.rungs[-1].finalists[0].id


def choose_winner(
    run: Run,
    ranked: Sequence[Candidate],
    settings: FinalsSettings,
    progress: Progress = silent,
    executor: Executor | None = None,
) -> tuple[Candidate, Finals | None]:
    """Holds the finals, and returns the winner with them; without finals, the best-ranked.

    Args and errors are those of `hold_finals`.
    """
    finals = hold_finals(run, ranked, settings, progress, executor)
    if finals is None:
        return pick(ranked, 0), None
    return next(each for each in ranked if each.id == finals.winner), finals


def describe_finals(finals: Finals) -> list[str]:
    """Says in a line for each rung which candidates went on."""
    lines = []
    for rung in finals.rungs:
        found = ", ".join(f"rank {each.rank} {each.expected_error:.2%}" for each in rung.finalists)
        epochs = f"{rung.epochs} epoch{'s' * (rung.epochs > 1)}"
        shrunk = f", inputs shrunk to {rung.side}" * (rung.side < finals.rungs[-1].side)
        folds = f", mean of {rung.folds} folds" * (rung.folds > 1)
        lines.append(f"finals, {epochs} each{shrunk}, expected validation error{folds}: {found}")
    return lines


def hold_finals(
    run: Run,
    ranked: Sequence[Candidate],
    settings: FinalsSettings,
    progress: Progress = silent,
    executor: Executor | None = None,
) -> Finals | None:
    """Trains the best-ranked candidates briefly, the best of them for longer, and the last in full.

    Args:
        run: The run that they belong to.
        ranked: The candidates, best first.
        settings: How children are trained, and how long the finals may take.
        progress: Shows how far training is.
        executor: Trains them; by default this process.

    Returns:
        The finals; None with one finalist, or minutes for each child, whose epochs are not known:
        then the first candidate is the winner.

    Raises:
        DivergedError: A loss is no longer finite.
        InvalidValueError: There are too few examples for the folds.
        RunStateError: A child is damaged, or another process is training it.
    """
    plan = plan_rungs(len(ranked), settings.epochs, settings.finalists, settings.finals_share)
    if not plan or settings.minutes is not None:
        return None
    if settings.folds > 1:
        _folds(run.data, settings.folds)  # if that fails, it does so before anything is trained
    rank = {candidate.id: number for number, candidate in enumerate(ranked)}
    side = max(run.data.task.size)
    brief_side = run.settings.training.proxy_size or side
    shrunk_to = brief_side if brief_side < side else None
    candidates, rungs = unlike(run.space, ranked, plan[0][0]), list[Rung]()
    for number, (count, epochs) in enumerate(plan):
        trained = candidates[:count]
        child = settings.child.replaced(epochs=epochs)
        if number == len(plan) - 1:
            shrunk_to = None
        in_full = epochs == settings.epochs and shrunk_to is None
        parts = [
            None if in_full and fold == 0 else Part(shrunk_to, fold, settings.folds)
            for fold in range(settings.folds)
        ]
        of_folds = [
            _train(run, trained, child, part, settings.device, progress, executor) for part in parts
        ]
        finalists = [
            Finalist(
                id=each.id,
                rank=rank[each.id],
                error=fmean(result.error for result in results),
                expected_error=fmean(result.expected_error for result in results),
            )
            for each, results in zip(trained, zip(*of_folds, strict=True), strict=True)
        ]
        finalists.sort(key=lambda each: each.expected_error)
        candidates = [ranked[each.rank] for each in finalists]
        rungs.append(
            Rung(epochs=epochs, side=shrunk_to or side, folds=settings.folds, finalists=finalists)
        )
    finals = Finals(rungs=rungs)
    finals.write(run.path / FINALS)
    return finals


@dataclass(frozen=True)
class Part:
    """A part of the data that finalists are trained and judged on.

    Attributes:
        side: Extent that inputs are shrunk to; None for their own.
        fold: 0 for the training and the validation split; from 1, a part of the training split is
            judged on and the rest of it trained on.
        folds: Number of folds.
    """

    side: int | None
    fold: int
    folds: int

    @property
    def name(self) -> str:
        """Marks the folder of a child, which keeps it out of all tables."""
        shrunk = f"{self.side}px-" if self.side else ""
        fold = f"fold{self.fold}of{self.folds}-" if self.fold else ""
        return f"{shrunk}{fold}{BRIEF}"

    def __call__(self, data: Data, device: torch.device) -> tuple[Data, Mapping[str, Split]]:
        """Returns the data to train on, and the split to judge on."""
        data = shrink(data, self.side) if self.side else data
        if self.fold:
            rest, part = _folds(data, self.folds)[self.fold - 1]
            data = replace(data, train=rest, val=part)
        data = data.to(device)
        return data, {BRIEF: data.val}


def _folds(data: Data, folds: int) -> list[tuple[Split, Split]]:
    """Cuts the parts of the training split that are judged on beside the validation split."""
    return cut_folds(data.train, len(data.val) / len(data.train), FOLD_SEED, folds - 1)


def _train(
    run: Run,
    candidates: Sequence[Candidate],
    child: ChildSettings,
    part: Part | None,
    device: str,
    progress: Progress,
    executor: Executor | None,
) -> list[Evaluation]:
    """Trains candidates on a part of the data, or in full, and evaluates them."""
    jobs = [
        ChildJob.of(
            run,
            network_of(each),
            child,
            f"{child_name(each.id, child)}-{part.name}" if part else None,
        )
        for each in candidates
    ]
    children = train_children(run, jobs, part or with_val, device, progress, executor)
    return [each.result[BRIEF if part else "val"] for each in children]


def unlike(space: SearchSpace[Any], ranked: Sequence[Candidate], count: int) -> list[Candidate]:
    """Chooses the best candidates, but for those that are much like a better one.

    Two are alike if the distance of their features is below half of the typical one.

    Args:
        space: The space that they are from.
        ranked: The candidates, best first.
        count: Number to choose.

    Returns:
        The chosen ones, best first; if too few differ, the best of the others fill up.
    """

    def features(candidate: Candidate) -> Tensor:
        return space.features(space.from_json(candidate.architecture)).float()

    some = ranked[:: -(-len(ranked) // _TYPICAL)]
    typical = torch.pdist(torch.stack([features(each) for each in some]), p=1).median()
    chosen, alike, places = list[Candidate](), list[Candidate](), list[Tensor]()
    for candidate in ranked:
        place = features(candidate)
        if any((place - other).abs().sum() < _ALIKE * typical for other in places):
            alike.append(candidate)
            continue
        chosen.append(candidate)
        places.append(place)
        if len(chosen) == count:
            return chosen
    ids = {each.id for each in (*chosen, *alike[: count - len(chosen)])}
    return [each for each in ranked if each.id in ids]


def plan_rungs(candidates: int, epochs: int, finalists: int, share: float) -> list[tuple[int, int]]:
    """Plans successive halving: brief trainings within a share of a full one, and the last in full.

    Each brief rung takes about as many epochs in all as the others, and each candidate at least
    one.

    Args:
        candidates: Number of ranked candidates.
        epochs: Epochs of the full training.
        finalists: Number of candidates of the first rung.
        share: Epochs of all brief rungs ÷ epochs of the full training.

    Returns:
        The number of candidates and the epochs of each, rung by rung; none for a single candidate.

    Example:
        >>> plan_rungs(200, epochs=30, finalists=24, share=2.0)
        [(24, 1), (6, 4), (2, 30)]
    """
    counts, left = [], min(finalists, candidates)
    while left > _LAST:
        counts.append(left)
        left = -(-left // _FACTOR)
    cost = sum(count * _FACTOR**rung for rung, count in enumerate(counts))
    first = max(1, int(share * epochs / cost)) if counts else 0
    brief = [(count, min(epochs, first * _FACTOR**rung)) for rung, count in enumerate(counts)]
    return [*brief, (left, epochs)] if left > 1 else []
