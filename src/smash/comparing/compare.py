"""Comparison of the winner with other candidates and with plain networks of equal cost.

All are trained with the same settings and the same seeds. Candidates are chosen by their rank, and
the recommendation by validation error; the test split only reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smash.data import Data, Split
from smash.errors import InvalidValueError, NotFoundError
from smash.evaluation import predict
from smash.evaluation.trainings import (
    Wrong,
    difference_interval,
    mean_difference_interval,
    mean_error_interval,
    spreads_of,
)
from smash.io.records import Interval, Record
from smash.profiling.budget import Budget
from smash.profiling.cost import cost_of
from smash.profiling.names import COUNTED
from smash.run.child import Child
from smash.run.child_folder import ChildNetwork
from smash.run.layout import COMPARISON
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.executor import Executor
from smash.runtime.progress import Announce, Progress, automatic
from smash.spaces.baseline_names import FITTED, full_name
from smash.spaces.baselines import fit_baseline, fit_plain_network, make_baseline
from smash.spaces.plain import plain_families
from smash.study.candidate import Candidate
from smash.study.ranking import pick
from smash.study.study import Study
from smash.training.child import ChildJob, network_of
from smash.training.children import train_children, with_test
from smash.training.finals import choose_winner, describe_finals
from smash.training.settings import CompareSettings
from smash.training.workers import open_trainer

_OVER = "over the limits"
_RANDOM = "random"


class Contestant(Record):
    """A network of a comparison; errors are fractions, 0…1, with intervals over seeds and examples.

    Attributes:
        role: ``winner``, ``rank N``, ``median-ranked``, ``random`` or ``plain``; or ``over the
            limits``, a plain network that the limits of the search exclude.
        name: Id of the candidate, or name of the plain network.
        params: Number of parameters.
        macs: Multiply-accumulates for one input.
        memory: Bytes of RAM for the activations of one input in int8.
        flash: Bytes of the weights and the graph in int8.
        minutes: Mean duration of one training.
        val: Validation error.
        test: Test error.
        behind: Test error minus that of the winner, paired by example.
    """

    role: str
    name: str
    params: int
    macs: int
    memory: int
    flash: int
    minutes: float
    val: Interval
    test: Interval
    behind: Interval


class Comparison(Record):
    """The result of `compare`; stored in the run folder as ``comparison.json``.

    Attributes:
        length: Length of each training in words, such as 30 epochs.
        seeds: Number of trainings of each network.
        val_examples: Number of validation examples.
        test_examples: Number of test examples.
        contestants: The networks, the winner first.
        random: Mean test error of the random candidates minus the winner's, 0…1; None with fewer
            than two.
        verdict: The answer in a sentence; with random candidates, and with one seed, in one more
            each.

    Example:
        >>> same = Interval(value=0.1, low=0.08, high=0.12)
        >>> winner = Contestant(
        ...     role="winner", name="f796694c174f", params=17_354, macs=346_624, memory=4_096,
        ...     flash=21_000, minutes=2.0, val=same, test=same,
        ...     behind=Interval(value=0, low=0, high=0),
        ... )
        >>> comparison = Comparison(
        ...     length="30 epochs", seeds=3, val_examples=153, test_examples=269,
        ...     contestants=[winner], verdict="nothing to compare with",
        ... )
        >>> comparison.contestants[0].test.value
        0.1
    """

    length: str
    seeds: int
    val_examples: int
    test_examples: int
    contestants: list[Contestant]
    random: Interval | None = None
    verdict: str


@dataclass(frozen=True)
class _Network:
    role: str
    network: ChildNetwork


def compare(
    run: Run,
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
        run: A run with ranked candidates.
        settings: Settings of the comparison.
        progress: Shows how far the trainings are.
        announce: Called before training, with lines on what is compared.
        **changes: Fields of `CompareSettings`, which replace those of `settings`.

    Raises:
        InvalidValueError: A setting is wrong.
        NotFoundError: The run has no candidates.
        DivergedError: A loss is no longer finite.

    Example:
        >>> comparison = compare(run, epochs=2, seeds=1, random=1)  # doctest: +SKIP
        >>> print(comparison.verdict)  # doctest: +SKIP
    """
    settings = CompareSettings.merged(settings, changes)
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
    _check_families(settings.families, run.data.task.dims)  # before the finals, which take long
    named = [
        _named_network(name, run, study)
        for name in settings.baselines
        if name.lower() not in FITTED
    ]
    if settings.rank_numbers:
        chosen = [pick(ranked, rank) for rank in settings.rank_numbers]
    else:
        winner, finals = choose_winner(run, ranked, settings, progress, executor)
        chosen = [winner]
        if finals and announce:
            announce(describe_finals(finals))
    networks = _distinct(
        *_candidates(ranked, chosen, settings),
        *_plain_networks(run, study, chosen[0], settings),
        *named,
        *(
            _named_network(fit_baseline(name.lower(), chosen[0].params, run.data.task), run, study)
            for name in settings.baselines
            if name.lower() in FITTED
        ),
    )
    seeds = range(settings.seed, settings.seed + settings.seeds)
    if announce:
        announce(
            [f"{each.role}: {each.network.id}, {each.network.params:,} parameters, "
             f"{each.network.macs:,} MACs" for each in networks]
        )  # fmt: skip
    jobs = [
        ChildJob.of(run, each.network, child)
        for each in networks
        for child in (settings.child.replaced(seed=seed) for seed in seeds)
    ]
    unique = list({job.path: job for job in jobs}.values())
    trained = train_children(run, unique, with_test, settings.device, progress, executor)
    children = {child.path: child for child in trained}
    device = choose_device(settings.device)
    for child in trained:
        if "test" not in child.result:
            child.evaluate("test", device)  # which its result keeps: this look is counted
    of_network = [
        [children[job.path] for job in jobs[start : start + len(seeds)]]
        for start in range(0, len(jobs), len(seeds))
    ]
    comparison = _judge(run.data.to(device), networks, of_network, settings, device)
    comparison.write(run.path / COMPARISON)
    return comparison


def read_comparison(path: Path) -> Comparison | None:
    """Reads the comparison of a run folder; None where there is none."""
    file = path / COMPARISON
    return Comparison.read(file) if file.is_file() else None


def _distinct(*networks: _Network) -> list[_Network]:
    """Takes each network once: a second time it would count as another that seeds deviate like."""
    first: dict[str, _Network] = {}
    for each in networks:
        first.setdefault(each.network.id, each)
    return list(first.values())


def _candidates(
    ranked: Sequence[Candidate], first: Sequence[Candidate], settings: CompareSettings
) -> Iterable[_Network]:
    """Gives the winner first, then other ranks, the middle of the ranking, and random ones."""
    chosen: dict[str, _Network] = {}

    def choose(role: str, candidate: Candidate) -> None:
        chosen.setdefault(candidate.id, _Network(role, network_of(candidate)))

    for candidate in first:
        choose("winner" if not chosen else f"rank {ranked.index(candidate)}", candidate)
    if settings.median:
        choose("median-ranked", ranked[len(ranked) // 2])
    # Candidates drawn at random are within the limits of the search, whatever their score.
    drawn = [one for one in ranked if one.strategy == "random" and one.id not in chosen]
    rng = np.random.default_rng(settings.seed)
    for index in rng.permutation(len(drawn))[: settings.random]:
        choose(_RANDOM, drawn[index])
    return chosen.values()


def _plain_networks(
    run: Run, study: Study, winner: Candidate, settings: CompareSettings
) -> Iterable[_Network]:
    """Gives of each family the widest member within the limits and no larger than the winner."""
    task, limits = run.data.task, _limits(study)
    limited = limits.counted.keys() & {"params", "macs"} or {"params"}

    def fits(network: nn.Module) -> bool:
        cost = cost_of(network, task)
        smaller = all(getattr(cost, each) <= getattr(winner, each) for each in limited)
        return smaller and limits.allows(cost)

    for family in settings.families or plain_families(task.dims):
        name = fit_plain_network(family, task, fits)
        if name is not None:
            yield _named_network(name, run, study)


def _check_families(families: Sequence[str], dims: int) -> None:
    """Checks that plain networks take data with so many spatial axes.

    Raises:
        InvalidValueError: Some do not.
    """
    known = plain_families(dims)
    if others := [family for family in families if family not in known]:
        raise InvalidValueError(
            f"families must be of {', '.join(known)} for data with {dims} spatial "
            f"ax{'i' if dims == 1 else 'e'}s, got {', '.join(others)}: leave that out"
        )


def _named_network(name: str, run: Run, study: Study) -> _Network:
    """Builds a plain network by name, whatever the limits of the search are."""
    name, task = full_name(name), run.data.task
    cost = cost_of(make_baseline(name, task), task)
    network = ChildNetwork(id=name.replace(":", "-"), baseline=name, **asdict(cost))
    return _Network("plain" if _limits(study).allows(cost) else _OVER, network)


def _limits(study: Study) -> Budget:
    """Gives the limits of the search."""
    settings = study.settings or {}
    return Budget(**{name: settings.get(name) for name in Budget.model_fields})


def _judge(
    data: Data,
    networks: Sequence[_Network],
    children: Sequence[Sequence[Child]],
    settings: CompareSettings,
    device: torch.device,
) -> Comparison:
    if not networks:
        raise NotFoundError("the run has no candidates yet: rank some with 'smash search'")
    wrongs: dict[str, list[Wrong]] = {"val": [], "test": []}
    for trained in children:
        models = [child.model(device) for child in trained]
        for name, split in (("val", data.val), ("test", data.test)):
            found = [misclassified(model, split, data).cpu().numpy() for model in models]
            wrongs[name].append(np.stack(found))
    spreads = {name: spreads_of(each) for name, each in wrongs.items()}
    contestants = []
    for index, (network, trained) in enumerate(zip(networks, children, strict=True)):
        val, test = wrongs["val"][index], wrongs["test"][index]
        seconds = [child.run.metrics_of(child.path).rows()[-1]["seconds"] for child in trained]
        contestants.append(
            Contestant(
                role=network.role,
                name=network.network.id,
                **network.network.model_dump(include=set(COUNTED)),
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
        for network, wrong in zip(networks, wrongs["test"], strict=True)
        if network.role == _RANDOM
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
            ]
        ),
    )


@torch.no_grad()
def misclassified(model: nn.Module, examples: Split, data: Data) -> Tensor:
    """Tells which examples a child in eval mode classifies wrongly, shape (n,), bool."""
    return predict(model, examples, data.normalise).argmax(1) != examples.labels


def against_random(count: int, found: Interval | None) -> Iterable[str]:
    """Says whether the winner is better than networks that were drawn, not searched for."""
    if found is None:
        return
    low, mean, high = (100 * each for each in (found.low, found.value, found.high))
    drawn = f"the mean of {count} random candidates"
    if low > 0:
        yield f"The winner is {mean:.1f} points ahead of {drawn}, beyond chance."
    elif high < 0:
        yield f"The winner is {-mean:.1f} points behind {drawn}, beyond chance."
    else:
        yield (
            f"The winner's distance to {drawn} ({mean:+.1f} points, {low:+.1f} to {high:+.1f}) may "
            "be chance."
        )


def of_one_seed(seeds: int) -> Iterable[str]:
    """Says what the intervals leave out where each network was trained once."""
    if seeds == 1:
        yield (
            "That is the chance of the test examples: each network was trained once, and another "
            "seed may change more; --seeds 3 tells."
        )


def verdict(contestants: Sequence[Contestant]) -> str:
    """Says in one sentence which network to take.

    The network with the lowest validation error is recommended, of those within the limits; test
    errors say by how much.
    """
    within = [each for each in contestants if each.role != _OVER]
    winner, best = within[0], min(within, key=lambda each: each.val.value)
    plain = [each for each in within if each.role == "plain"]
    if best.val.value < winner.val.value:
        role = "" if best.role == "plain" else f" ({best.role})"
        chance = ", which may be chance" if best.behind.low <= 0 <= best.behind.high else ""
        points = -100 * best.behind.value
        compared = f"better by {points:.1f}" if points >= 0 else f"worse by {-points:.1f}"
        return (
            f"Take {best.name}{role}: no network within the limits has a lower validation error; "
            f"on the test split it is {compared} points than the winner{chance}."
        )
    if not plain:
        return (
            "No plain network within the limits is as small as the winner, so there is none to "
            "compare it with."
        )
    gaps = [100 * each.behind.value for each in plain]
    unclear = [each.name for each in plain if each.behind.low <= 0]
    if not unclear:
        ends = f"{min(gaps):.1f}" if len(gaps) == 1 else f"{min(gaps):.1f} to {max(gaps):.1f}"
        return f"The winner is better than each plain network by {ends} points, beyond chance."
    nearest = min(plain, key=lambda each: each.behind.value)
    return (
        "No plain network has a lower validation error than the winner, but on the test split its "
        f"distance to {nearest.name} ({100 * nearest.behind.value:+.1f} points, "
        f"{100 * nearest.behind.low:+.1f} to {100 * nearest.behind.high:+.1f}) may be chance."
    )
