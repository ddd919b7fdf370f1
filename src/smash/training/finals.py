"""Finals: brief true trainings decide among the best-ranked candidates (successive halving).

A ranking by generated weights is coarse among candidates of nearly the same cost. So the best of it
are trained for a few epochs each, the best quarter for four times as many, and so on until one
is left (Jamieson & Talwalkar 2016). They learn from the training split and are judged on the
validation split, at the size of images that the SMASH network learned from; each is a child of the
run, so that finals that were interrupted go on.

The first of a ranking are often mutants of each other, which hardly differ once they are trained.
So a candidate that is much like a better one is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from smash.data import Data, Split, shrink
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
_ALIKE = 0.5  # of the typical distance between candidates
_TYPICAL = 64  # candidates, from all over the ranking, whose distances tell the typical one


class Finalist(Record):
    """A candidate after a brief training; `error` is that of the validation split, 0…1."""

    id: str
    rank: int
    error: float
    loss: float


class Rung(Record):
    """Candidates that were trained for the same number of epochs, best first."""

    epochs: int
    finalists: list[Finalist]


class Finals(Record):
    """The rungs of successive halving; stored in the run folder as ``finals.json``.

    Example:
        >>> few = Finalist(id="3f2a", rank=4, error=0.02, loss=0.1)
        >>> Finals(rungs=[Rung(epochs=4, finalists=[few])]).winner
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
        found = ", ".join(f"rank {each.rank} {each.error:.2%}" for each in rung.finalists)
        epochs = f"{rung.epochs} epoch{'s' * (rung.epochs > 1)}"
        lines.append(f"finals, {epochs} each, validation error: {found}")
    return lines


def hold_finals(
    run: Run,
    ranked: Sequence[Candidate],
    settings: FinalsSettings,
    progress: Progress = silent,
    executor: Executor | None = None,
) -> Finals | None:
    """Trains the best-ranked candidates briefly, the best quarter for longer, until one is left.

    Args:
        run: The run that they belong to.
        ranked: The candidates, best first.
        settings: How children are trained, and how long the finals may take.
        progress: Shows how far training is.
        executor: Trains them; by default this process.

    Returns:
        The finals; None where the settings allow none, and the first candidate is the winner.

    Raises:
        DivergedError: A loss is no longer finite.
        RunStateError: A child is damaged, or another process is training it.
    """
    plan = plan_rungs(len(ranked), settings.epochs, settings.finalists, settings.finals_share)
    rank = {candidate.id: number for number, candidate in enumerate(ranked)}
    if not plan:
        return None
    candidates, rungs = unlike(run.space, ranked, plan[0][0]), list[Rung]()
    side = run.settings.training.proxy_size or max(run.data.task.size)
    smaller = side < max(run.data.task.size)
    split_data, split = (partial(_with_brief, side=side), BRIEF) if smaller else (with_val, "val")
    for count, epochs in plan:
        brief = settings.child.replaced(epochs=epochs)
        jobs = []
        for each in candidates[:count]:
            name = f"{child_name(each.id, brief)}-{BRIEF}" if smaller else None
            jobs.append(ChildJob.of(run, network_of(each), brief, name))
        children = train_children(run, jobs, split_data, settings.device, progress, executor)
        found = {child.record.id: child.result[split] for child in children}
        # Few validation examples make equal errors; the loss tells those apart.
        candidates = sorted(
            candidates[:count], key=lambda each: (found[each.id].error, found[each.id].loss)
        )
        finalists = [
            Finalist(
                id=each.id, rank=rank[each.id], error=found[each.id].error, loss=found[each.id].loss
            )
            for each in candidates
        ]
        rungs.append(Rung(epochs=epochs, finalists=finalists))
    finals = Finals(rungs=rungs)
    finals.write(run.path / FINALS)
    return finals


def _with_brief(data: Data, device: torch.device, side: int) -> tuple[Data, Mapping[str, Split]]:
    """Trains on smaller images, and evaluates on those of validation."""
    data = shrink(data, side).to(device)
    return data, {BRIEF: data.val}


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
    chosen, places = list[Candidate](), list[Tensor]()
    for candidate in ranked:
        place = features(candidate)
        if all((place - other).abs().sum() >= _ALIKE * typical for other in places):
            chosen.append(candidate)
            places.append(place)
        if len(chosen) == count:
            return chosen
    ids = {each.id for each in chosen}
    others = [each for each in ranked if each.id not in ids]
    ids |= {each.id for each in others[: count - len(chosen)]}
    return [each for each in ranked if each.id in ids]


def plan_rungs(candidates: int, epochs: int, finalists: int, share: float) -> list[tuple[int, int]]:
    """Plans successive halving within a share of the epochs of the full training.

    Each rung takes about as many epochs in all as the others, and each candidate at least one.

    Args:
        candidates: Number of ranked candidates.
        epochs: Epochs of the full training.
        finalists: Number of candidates of the first rung.
        share: Epochs of all rungs ÷ epochs of the full training.

    Returns:
        The number of candidates and the epochs of each, rung by rung; none for a single candidate.

    Example:
        >>> plan_rungs(200, epochs=30, finalists=8, share=2.0)
        [(8, 3), (2, 12)]
    """
    counts, left = [], min(finalists, candidates)
    while left > 1:
        counts.append(left)
        left = -(-left // _FACTOR)
    cost = sum(count * _FACTOR**rung for rung, count in enumerate(counts))
    first = max(1, int(share * epochs / cost)) if counts else 0
    lengths = [min(epochs, first * _FACTOR**rung) for rung in range(len(counts))]
    # A rung of full trainings decides: another would only repeat the better ones of them.
    full = lengths.index(epochs) + 1 if epochs in lengths else len(counts)
    return list(zip(counts, lengths, strict=True))[:full]
