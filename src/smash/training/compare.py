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
from numpy.typing import NDArray
from scipy.special import fdtri, ndtri, stdtrit
from torch import Tensor, nn

from smash import evaluation
from smash.data import Data, Split
from smash.errors import InvalidValueError, NotFoundError
from smash.evaluation import predict
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
from smash.spaces.baseline_names import full_name
from smash.spaces.baselines import fit_plain_network, make_baseline
from smash.spaces.plain import plain_families
from smash.study.candidate import Candidate
from smash.study.ranking import pick
from smash.study.study import Study
from smash.training.child import ChildJob, network_of
from smash.training.children import train_children, with_test
from smash.training.finals import choose_winner, describe_finals
from smash.training.settings import CompareSettings
from smash.training.workers import open_trainer

_CONFIDENCE = 0.95
_OUTLIER = 0.01  # level of the test for networks that deviate more by the seed than the others
_OVER = "over the limits"
_RANDOM = "random"

Wrong = NDArray[np.bool_]
"""Misclassified examples, seeds × examples."""


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
        verdict: The answer in a sentence, and with random candidates in two.

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
    named = [_named_network(name, run, study) for name in settings.baselines]
    if settings.rank_numbers:
        chosen = [pick(ranked, rank) for rank in settings.rank_numbers]
    else:
        winner, finals = choose_winner(run, ranked, settings, progress, executor)
        chosen = [winner]
        if finals and announce:
            announce(describe_finals(finals))
    networks = [
        *_candidates(ranked, chosen, settings),
        *_plain_networks(run, study, chosen[0], settings),
        *named,
    ]
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
    """Gives of each family the widest member that costs no more than the winner."""
    task = run.data.task
    limited = _limits(study).counted.keys() & {"params", "macs"} or {"params"}

    def fits(network: nn.Module) -> bool:
        cost = cost_of(network, task)
        return all(getattr(cost, each) <= getattr(winner, each) for each in limited)

    families = settings.families or plain_families(task.dims)
    for family in families:
        if family not in plain_families(task.dims):
            raise InvalidValueError(
                f"families: {family!r} is none of {', '.join(plain_families(task.dims))}, which "
                f"take data with {task.dims} spatial axes"
            )
        name = fit_plain_network(family, task, fits)
        if name is not None:
            yield _named_network(name, run, study)


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
                val=error_interval(val, spreads["val"][index]),
                test=error_interval(test, spreads["test"][index]),
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
        verdict=" ".join([verdict(contestants), *against_random(len(drawn), random)]),
    )


@torch.no_grad()
def misclassified(model: nn.Module, examples: Split, data: Data) -> Tensor:
    """Tells which examples a child in eval mode classifies wrongly, shape (n,), bool."""
    return predict(model, examples, data.normalise).argmax(1) != examples.labels


@dataclass(frozen=True)
class SeedSpread:
    """Deviation of the error of a training by its seed, pooled over several networks.

    Attributes:
        deviation: Standard deviation of one training's error.
        freedom: Degrees of freedom of this estimate; 0 where each network was trained once.
    """

    deviation: float
    freedom: int

    @classmethod
    def of(cls, wrongs: Sequence[Wrong]) -> SeedSpread:
        """Estimates it from the trainings of several networks, seeds × examples each."""
        errors = [wrong.mean(1) for wrong in wrongs]
        freedom = sum(len(each) - 1 for each in errors)
        squares = sum(float(((each - each.mean()) ** 2).sum()) for each in errors)
        return cls(float(np.sqrt(squares / freedom)) if freedom else 0.0, freedom)

    def half_width(self, trainings: int) -> float:
        """Computes half of Student's interval of the mean of some trainings."""
        if not self.freedom:
            return 0.0
        t = float(stdtrit(self.freedom, 0.5 + _CONFIDENCE / 2))
        return t * self.deviation / float(np.sqrt(trainings))


def spreads_of(wrongs: Sequence[Wrong]) -> list[SeedSpread]:
    """Estimates for each network how much its error deviates by the seed.

    Few seeds tell little of one network, so the estimate is pooled over all. One that deviates far
    more than the others (Cochran's test at 1%), as where a training collapsed, has its own.

    Args:
        wrongs: For each network its misclassified examples, seeds × examples.
    """
    spreads = [SeedSpread.of([wrong]) for wrong in wrongs]
    alike = list(range(len(wrongs)))
    while len(alike) > 2 and (freedom := spreads[0].freedom):
        variances = [spreads[index].deviation ** 2 for index in alike]
        others = len(alike) - 1
        f = fdtri(freedom, others * freedom, 1 - _OUTLIER / len(alike))
        if max(variances) <= sum(variances) / (1 + others / f):
            break
        del alike[int(np.argmax(variances))]
    pooled = SeedSpread.of([wrongs[index] for index in alike])
    return [pooled if index in alike else own for index, own in enumerate(spreads)]


def error_interval(wrong: Wrong, spread: SeedSpread) -> Interval:
    """Computes the mean error of several trainings with its interval.

    The examples contribute Wilson's interval of the mean error, the seeds Student's of their means;
    both widths add up as independent deviations do.

    Args:
        wrong: Misclassified examples, seeds × examples.
        spread: Deviation by the seed.
    """
    trainings, examples = wrong.shape
    mean = float(wrong.mean())
    low, high = evaluation.error_interval(mean, examples, spread.half_width(trainings))
    return Interval(value=mean, low=low, high=high)


def difference_interval(
    wrong: Wrong, reference: Wrong, spread: SeedSpread, reference_spread: SeedSpread
) -> Interval:
    """Computes the mean difference of two networks' errors, paired by example.

    Args:
        wrong: Misclassified examples of one network, seeds × examples.
        reference: Those of the other, with as many seeds and the same examples.
        spread: Deviation of the one by the seed.
        reference_spread: That of the other.

    Returns:
        Positive where the other network is better; the interval as in `error_interval`.
    """
    of_seeds = [each.half_width(len(wrong)) for each in (spread, reference_spread)]
    return _interval_of_mean(
        wrong.mean(0) - reference.mean(0), *([] if wrong is reference else of_seeds)
    )


def mean_difference_interval(
    wrongs: Sequence[Wrong], reference: Wrong, spread: SeedSpread
) -> Interval | None:
    """Computes the mean difference of drawn networks' errors to one network's, paired by example.

    Args:
        wrongs: Misclassified examples of each drawn network, seeds × examples.
        reference: Those of the one network.
        spread: Its deviation by the seed.

    Returns:
        Positive where the one network is better; the interval is over the networks that might have
        been drawn (Student), the seeds of the one, and the examples. None with fewer than two.
    """
    count = len(wrongs)
    if count < 2:
        return None
    of_example = np.mean([wrong.mean(0) for wrong in wrongs], axis=0) - reference.mean(0)
    errors = [float(wrong.mean()) for wrong in wrongs]
    drawn = SeedSpread(float(np.std(errors, ddof=1)), count - 1)
    return _interval_of_mean(of_example, drawn.half_width(count), spread.half_width(len(reference)))


def _interval_of_mean(of_example: NDArray[np.float64], *half_widths: float) -> Interval:
    """Gives the mean over examples, −1…1, with its interval, widened by independent half widths."""
    z = float(ndtri(0.5 + _CONFIDENCE / 2))
    of_examples = z * float(of_example.std(ddof=1)) / float(np.sqrt(of_example.size))
    mean, half = float(of_example.mean()), float(np.linalg.norm([of_examples, *half_widths]))
    return Interval(value=mean, low=max(-1.0, mean - half), high=min(1.0, mean + half))


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


def verdict(contestants: Sequence[Contestant]) -> str:
    """Says in one sentence which network to take.

    The network with the lowest validation error is recommended, of those within the limits; test
    errors say by how much.
    """
    winner, *others = (each for each in contestants if each.role != _OVER)
    plain = [each for each in others if each.role == "plain"]
    if not plain:
        return "No plain network is as small as the winner, so there is none to compare it with."
    best = min(others, key=lambda each: each.val.value)
    if best.val.value < winner.val.value:
        role = "" if best.role == "plain" else f" ({best.role})"
        chance = ", which may be chance" if best.behind.low <= 0 <= best.behind.high else ""
        points = -100 * best.behind.value
        compared = f"better by {points:.1f}" if points >= 0 else f"worse by {-points:.1f}"
        return (
            f"Take {best.name}{role}: no network that was trained has a lower validation error; on "
            f"the test split it is {compared} points than the winner{chance}."
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
