"""The search: propose, filter by cost, score, store. One loop, whatever the strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal

from smash.cli.describe import describe_sizes, sizes_of
from smash.config import refuse_changes
from smash.errors import InvalidValueError, faults_of
from smash.io.locks import hold
from smash.io.measurements import MeasurementLog
from smash.profiling.budget import Budget
from smash.profiling.latency import Stopwatch
from smash.run.layout import LATENCIES, STORAGE, STUDY, check_trained
from smash.run.run import Run
from smash.runtime.device import Precision, choose_device
from smash.runtime.progress import Progress, silent
from smash.runtime.ray_executor import check_address, open_executor
from smash.runtime.signals import hear_interruption
from smash.scoring.priors import Prefilter, choose_prior
from smash.scoring.scorer import BATCH_SIZE, SCORED_EXAMPLES, RankBy, Scorer
from smash.searching.loop import Loop
from smash.searching.objectives import check_objectives, quality_of, to_setting
from smash.searching.proposals import Proposer
from smash.searching.racing import KEEP
from smash.searching.settings import _counts, _fitting, _wrong
from smash.searching.strategies import (
    GradientPerturbation,
    MarkovChain,
    Nsga2,
    Perturbation,
    RandomSampling,
    RegularisedEvolution,
    Strategy,
)
from smash.study.postgres import Server, parse_url
from smash.study.study import Study

_OF_EARLIER = {
    "full": True,
    "keep": KEEP,
    "prior": None,
    "prefilter": None,
    "loss_of_snapshots": "of their mean prediction",
}
"""Settings that studies of earlier releases were made with, and do not name."""


def search(
    run: Run,
    *,
    random: int | None = None,
    perturb: int | None = None,
    markov: int | None = None,
    evolve: int | None = None,
    rate: float = 0.05,
    seed: int = 0,
    rank_by: RankBy = "loss",
    examples: int = SCORED_EXAMPLES,
    split: Literal["val", "test"] = "val",
    strategy: Literal["perturbation", "gradient", "evolution", "nsga2"] = "perturbation",
    objectives: Sequence[str] = (),
    max_params: int | None = None,
    max_macs: int | None = None,
    max_latency: float | str | None = None,
    full: bool = False,
    keep: int = KEEP,
    prior: str | None = None,
    prefilter: str | None = None,
    precision: Precision = "fp32",
    batch_size: int = BATCH_SIZE,
    device: str = "auto",
    storage: str | None = None,
    ray: str | None = None,
    progress: Progress = silent,
    announce: Callable[[list[str]], None] | None = None,
) -> Study:
    """Ranks architectures of a trained run: random ones, changes of the best, then a chain.

    Or, in place of the last two, what evolution proposes; for several objectives that is NSGA-II.

    Called again with the same settings it goes on where it was; with larger numbers it adds to
    them; where all is done it changes nothing.

    Args:
        run: A run whose training has finished.
        random: Architectures to draw at random; all are scored unless `prefilter` says which. 500,
            or 100 with evolution.
        perturb: Changes of the best of those to try; 100, or none with evolution.
        markov: Steps of the chain, which moves to each change that is better; 100, or none.
        evolve: Candidates that evolution proposes; 600, or none without it.
        rate: Probability that a change redraws a setting.
        seed: Seed of the proposals.
        rank_by: Rank by validation ``loss``, ``error`` or ``top5_error``.
        examples: Validation examples to score on; a fixed sample where there are more.
        split: Split to score on; ``test`` only to follow the original: it spoils the test.
        strategy: How changes of the best are proposed: by ``perturbation``, or of several those
            that the ``gradient`` of the loss with respect to the encoding speaks for; or by
            regularised ``evolution``; for several objectives by ``nsga2``.
        objectives: Two or more of which less is better: one of ``error``, ``loss`` and
            ``top5_error``, which then ranks, and of ``params``, ``macs`` and ``latency`` at least
            one. None is dropped early then: who is not among the best may be the best of its size.
        max_params: Most parameters of a child; checked before scoring.
        max_macs: Most multiply-accumulates of a child for one input; checked before scoring.
        max_latency: Most seconds of a child for one input, or a time such as ``5ms``; measured on
            this machine and `device` before scoring; each architecture is timed once.
        full: Score all candidates on all examples, instead of dropping those that are not among
            the best few; see `smash.searching.racing`.
        keep: How many the best few are.
        prior: Rank by score and this proxy at once (``params``, ``macs``, ``naswot``, ``synflow``,
            ``generated-synflow`` or ``az-nas``); proposals still follow the score. By default what
            the space has in `smash.scoring.priors.DEFAULT_PRIORS`; ``none`` for the score alone.
        prefilter: Score only the best of the random architectures by such a proxy, a quarter of
            them, or another share: ``az-nas:0.1``.
        precision: In which candidates predict: ``fp32``, ``bf16``, ``fp16``, or ``auto``.
        batch_size: Examples that are predicted at once; scores differ by rounding at most.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        storage: Where the study is kept instead of in the run folder, as
            ``postgresql://USER@HOST/DATABASE``; the run remembers it. Several searches may work at
            it at once, in this folder or in copies of it under the same name, in no repeatable
            order. A password belongs into ``~/.pgpass`` or ``PGPASSWORD``.
        ray: Score on the machines of a Ray cluster: its address, or ``auto``; see
        `smash.runtime.executor`.
            At the same number of threads the results are those of this process alone.
        progress: Shows how far it is.
        announce: Called before the search, with lines on how large architectures of the space are.

    Returns:
        The study, with all candidates.

    Raises:
        InvalidValueError: A setting is wrong, or no architecture is within the limits.
        RunStateError: Training has not finished, the study was made with other settings or
            elsewhere, or another process searches this run.
        ServerError: The server of the study fails.
    """
    if objectives and strategy == "perturbation":
        strategy = "nsga2"
    given = {"random": random, "perturb": perturb, "markov": markov, "evolve": evolve}
    counts, faults = _counts(strategy, given)
    faults += check_objectives(objectives) + _fitting(strategy, objectives, rank_by)
    if objectives and not faults:
        rank_by, full = quality_of(objectives), True
    chosen = {"rank_by": rank_by, "split": split, "strategy": strategy, "precision": precision}
    sizes = {"examples": examples, "keep": keep, "batch_size": batch_size}
    if prior is not None or not objectives:  # what is best by several is not ranked by one
        prior = choose_prior(prior, run.settings.space.name)
    faults += _wrong(counts, rate, seed, chosen, sizes, prior)
    limits: Any = {"max_params": max_params, "max_macs": max_macs, "max_latency": max_latency}
    # All that was asked for is looked at before data is loaded, which may take its time.
    faults += faults_of(
        lambda: Budget(**limits),
        lambda: prefilter is None or Prefilter.parse(prefilter),
        lambda: choose_device(device),
        lambda: storage is None or parse_url(storage),
        lambda: check_address(ray),
    )
    if faults:
        raise InvalidValueError(*faults)
    wanted = None if prefilter is None else Prefilter.parse(prefilter)
    budget = Budget(**limits)
    check_trained(run.path)
    server = Server.choose(run.path, storage)
    place = choose_device(device)
    network = run.network(place)
    if announce:
        announce(describe_sizes(sizes_of(run.space, run.data.task, place)))
    stopwatch = Stopwatch(run.space, run.data.task, place, MeasurementLog(run.path / LATENCIES))
    budget.check_feasible(run.space, run.data.task, stopwatch)
    if strategy == "gradient":
        network.check_slope()  # now, and not once all random architectures are scored
    settings = {
        "seed": seed,
        **chosen,
        "examples": examples,
        "rate": rate,
        "max_params": max_params,
        "max_macs": max_macs,
        "full": full,
        "keep": keep,
        "prior": prior,
        "prefilter": None if wanted is None else str(wanted),
        "objectives": to_setting(objectives),
        "max_latency": budget.max_latency,
    }
    snapshots = run.snapshots(place)
    if snapshots:
        settings["loss_of_snapshots"] = "mean of theirs"
    alone = nullcontext() if server else hold(run.path, "search")
    with open_executor(ray, device) as executor, alone:
        study = Study(run.study_path, create=True, server=server)
        with study.claim("settings", wait=True):
            _refuse_changes(study, settings, run)
        scorer = Scorer(
            network,
            run.search_data.to(place),
            rank_by,
            examples,
            split,
            precision,
            batch_size,
            snapshots,
        )
        proposer = Proposer(run.space, run.data.task, budget, seed, stopwatch)
        loop = Loop(
            run,
            study,
            scorer,
            proposer,
            None if full else keep,
            prior,
            wanted,
            executor,
            place,
            objectives,
        )
        perturbation = GradientPerturbation if strategy == "gradient" else Perturbation
        evolution = Nsga2 if strategy == "nsga2" else RegularisedEvolution
        phases: Sequence[tuple[Strategy[Any], int]] = (
            (RandomSampling(run.space), counts["random"]),
            (perturbation(run.space, rate), counts["perturb"]),
            (MarkovChain(run.space, rate), counts["markov"]),
            (evolution(run.space, rate), counts["evolve"]),
        )
        total = len(loop.candidates) + sum(loop.missing(*phase) for phase in phases)
        with hear_interruption() as interruption, progress("search", total) as advance:
            try:
                for phase, count in phases:
                    loop.extend(phase, count, advance, interruption)
            finally:
                loop.ensemble.save()
        return study


def _refuse_changes(study: Study, settings: Mapping[str, Any], run: Run) -> None:
    before = study.settings
    if before is None:
        study.settings = settings
        return
    refuse_changes(
        _OF_EARLIER | before,
        settings,
        since=f"the search of {str(run.path)!r} began",
        mend="give the value it began with, or search in a copy of the run without its "
        + (STORAGE if study.shared else STUDY),
    )
