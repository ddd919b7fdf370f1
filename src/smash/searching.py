"""The search: propose, filter by cost, score, store. One loop, whatever the strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Any, Literal, get_args

from torch import Tensor

from smash.config import refuse_changes
from smash.cost import Budget, Cost, measure
from smash.device import Precision, choose_device
from smash.ensemble import ENSEMBLE, Ensemble
from smash.errors import InvalidValueError, unknown
from smash.interruption import Interruption, hear_interruption
from smash.locking import hold
from smash.progress import Advance, Progress, silent
from smash.racing import KEEP, Race
from smash.randomness import generator
from smash.run import Run
from smash.scoring import BATCH_SIZE, SCORED_EXAMPLES, RankBy, Scorer
from smash.strategies import (
    GradientPerturbation,
    MarkovChain,
    Perturbation,
    RandomSampling,
    Scored,
    Strategy,
)
from smash.study import Candidate, Study

_DRAWS = 1000  # for one candidate, before the search gives up


def search(
    run: Run,
    *,
    random: int = 500,
    perturb: int = 100,
    markov: int = 100,
    rate: float = 0.05,
    seed: int = 0,
    rank_by: RankBy = "loss",
    examples: int = SCORED_EXAMPLES,
    split: Literal["val", "test"] = "val",
    strategy: Literal["perturbation", "gradient"] = "perturbation",
    max_params: int | None = None,
    max_macs: int | None = None,
    full: bool = False,
    keep: int = KEEP,
    precision: Precision = "fp32",
    batch_size: int = BATCH_SIZE,
    device: str = "auto",
    progress: Progress = silent,
) -> Study:
    """Ranks architectures of a trained run: random ones, changes of the best, then a chain.

    Called again with the same settings it goes on where it was; with larger numbers it adds to
    them; where all is done it changes nothing.

    Args:
        run: A run whose training has finished.
        random: Architectures to draw at random.
        perturb: Changes of the best of those to try.
        markov: Steps of the chain, which moves to each change that is better.
        rate: Probability that a change redraws a setting.
        seed: Seed of the proposals.
        rank_by: Rank by validation ``loss``, ``error`` or ``top5_error``.
        examples: Validation examples to score on; a fixed sample where there are more.
        split: Split to score on; ``test`` only to follow the original: it spoils the test.
        strategy: How changes of the best are proposed: by ``perturbation``, or of several those
            that the ``gradient`` of the loss with respect to the encoding speaks for.
        max_params: Most parameters of a child; checked before scoring.
        max_macs: Most multiply-accumulates of a child for one input; checked before scoring.
        full: Score all candidates on all examples, instead of dropping those that are certainly
            not among the best few; see `smash.racing`.
        keep: How many the best few are.
        precision: In which candidates predict: ``fp32``, ``bf16``, ``fp16``, or ``auto``.
        batch_size: Examples that are predicted at once; scores differ by rounding at most.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        progress: Shows how far it is.

    Returns:
        The study, with all candidates.

    Raises:
        InvalidValueError: A setting is wrong, or no architecture is within the limits.
        RunStateError: Training has not finished, the study was made with other settings, or another
            process searches this run.
    """
    counts = {"random": random, "perturb": perturb, "markov": markov}
    chosen = {"rank_by": rank_by, "split": split, "strategy": strategy, "precision": precision}
    _check(
        counts, rate, seed, chosen, {"examples": examples, "keep": keep, "batch_size": batch_size}
    )
    budget = Budget(max_params, max_macs)
    place = choose_device(device)
    network = run.network(place)
    budget.check_feasible(run.space, run.data.task)
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
    }
    with hold(run.path, "search"):
        study = Study(run.study_path, create=True)
        _refuse_changes(study, settings, run)
        scorer = Scorer(
            network, run.search_data.to(place), rank_by, examples, split, precision, batch_size
        )
        race = None if full else Race(scorer.rungs, keep)
        loop = _Loop(run, study, scorer, race, budget, seed)
        perturbation = GradientPerturbation if strategy == "gradient" else Perturbation
        phases: Sequence[tuple[Strategy[Any], int]] = (
            (RandomSampling(run.space), random),
            (perturbation(run.space, rate), perturb),
            (MarkovChain(run.space, rate), markov),
        )
        todo = sum(max(0, count - loop.done(phase)) for phase, count in phases)
        total = len(loop.candidates) + todo
        with hear_interruption() as interruption, progress("search", total) as advance:
            try:
                for phase, count in phases:
                    loop.extend(phase, count, advance, interruption)
            finally:
                loop.ensemble.save()
        return study


_CHOICES = {
    "rank_by": get_args(RankBy),
    "split": ("val", "test"),
    "strategy": ("perturbation", "gradient"),
    "precision": get_args(Precision),
}


def _check(
    counts: Mapping[str, int],
    rate: float,
    seed: int,
    chosen: Mapping[str, str],
    sizes: Mapping[str, int],
) -> None:
    faults = [
        f"{name} must be at least 0, got {count}" for name, count in counts.items() if count < 0
    ]
    if not sum(max(0, count) for count in counts.values()) and not faults:
        faults.append("random, perturb and markov are all 0: ask for at least 1 candidate")
    if not counts["random"] and (counts["perturb"] or counts["markov"]):
        faults.append("random must be at least 1, got 0: perturb and markov change the best of it")
    if not 0 < rate <= 1:
        faults.append(f"rate must be more than 0 and at most 1, got {rate:g}")
    if seed < 0:
        faults.append(f"seed must be at least 0, got {seed}")
    faults += [
        unknown(name, choice, _CHOICES[name])
        for name, choice in chosen.items()
        if choice not in _CHOICES[name]
    ]
    faults += [f"{name} must be at least 1, got {size}" for name, size in sizes.items() if size < 1]
    if faults:
        raise InvalidValueError(*faults)


def _refuse_changes(study: Study, settings: Mapping[str, Any], run: Run) -> None:
    before = study.settings
    if before is None:
        study.settings = settings
        return
    refuse_changes(
        before,
        settings,
        since=f"the search of {str(run.path)!r} began",
        mend="give the value it began with, or search in a copy of the run",
    )


class _Loop:
    """Extends a study by proposals of one strategy after the other."""

    def __init__(
        self,
        run: Run,
        study: Study,
        scorer: Scorer,
        race: Race | None,
        budget: Budget,
        seed: int,
    ) -> None:
        self._space, self._task = run.space, run.data.task
        self._study, self._scorer, self._budget, self._seed = study, scorer, budget, seed
        self._race = race
        self.candidates = study.candidates()
        self._seen = {candidate.id for candidate in self.candidates}
        self._history = [self._scored(one) for one in self.candidates]
        full = [
            (one.id, scored.architecture)
            for one, scored in zip(self.candidates, self._history, strict=True)
            if not one.partial
        ]
        self.ensemble = Ensemble(
            run.path / ENSEMBLE, scorer.labels, [identity for identity, _ in full]
        )
        for identity, architecture in full[self.ensemble.count :]:
            self.ensemble.add(identity, scorer.predict(architecture))
        # What ranks, for each example, of candidates that others may be compared with.
        self._each = lru_cache(maxsize=4)(lambda a: scorer.each(scorer.predict(a)))

    def _scored(self, candidate: Candidate) -> Scored[Any]:
        architecture = self._space.from_json(candidate.architecture)
        slope = cache(partial(self._scorer.slope, architecture))  # of one base, many are asked for
        # Who was dropped is worse than others by what is known, but by how much is not known.
        value = math.inf if candidate.partial else candidate.value
        return Scored(architecture, value, candidate.strategy, slope)

    def done(self, strategy: Strategy[Any]) -> int:
        """How many candidates of a strategy there are."""
        return sum(candidate.strategy == strategy.name for candidate in self.candidates)

    def extend(
        self, strategy: Strategy[Any], count: int, advance: Advance, interruption: Interruption
    ) -> None:
        """Adds candidates until there are `count` of this strategy."""
        for index in range(self.done(strategy), count):
            # A cohort sees what was scored before it began, wherever this process began.
            own = index % strategy.cohort
            history = self._history[: len(self._history) - own]
            with interruption.at_once():
                drawn = self._propose(strategy, history, index)
                if drawn is None:
                    return
                architecture, cost = drawn
                logits = self._predict(architecture, self._rival(history))
            self._commit(strategy, index, architecture, cost, logits)
            least = min(self._history, key=lambda one: one.value)
            advance(len(self.candidates), f"{strategy.name}, best {least.value:.4f}")
            interruption.check()

    def _propose(
        self, strategy: Strategy[Any], history: Sequence[Scored[Any]], index: int
    ) -> tuple[Any, Cost] | None:
        """A new architecture within the budget; None where the space has no further one."""
        rng = generator(self._seed, f"{strategy.name} proposal", index)
        cheapest: Cost | None = None
        for _ in range(_DRAWS):
            architecture = strategy.propose(history, rng)
            if self._space.identify(architecture) in self._seen:
                continue
            cost = measure(self._space, architecture, self._task)
            if self._budget.allows(cost):
                return architecture, cost
            if cheapest is None or cost.params < cheapest.params:
                cheapest = cost
        if cheapest is None:
            return None
        raise InvalidValueError(
            f"none of {_DRAWS} architectures drawn is within the limits; the smallest of them has "
            f"{cheapest.params:,} parameters and {cheapest.macs:,} MACs: raise the limit"
        )

    def _rival(self, history: Sequence[Scored[Any]]) -> Tensor | None:
        """What ranks, for each example, of the candidate that new ones are compared with."""
        if self._race is None:
            return None
        rival = self._race.rival([one.value for one in history])
        return None if rival is None else self._each(history[rival].architecture)

    def _predict(self, architecture: Any, rival: Tensor | None) -> Tensor:
        scorer = self._scorer
        if self._race is None or rival is None:
            return scorer.predict(architecture)
        return self._race.run(scorer.predict_parts(architecture), scorer.each, rival)

    def _commit(
        self, strategy: Strategy[Any], index: int, architecture: Any, cost: Cost, logits: Tensor
    ) -> None:
        score = self._scorer.judge(logits)
        dropped = score.examples < len(self._scorer.labels)
        identity = self._space.identify(architecture)
        ensemble = self.ensemble
        candidate = Candidate(
            id=identity,
            architecture=self._space.to_json(architecture),
            strategy=strategy.name,
            index=index,
            value=score.value,
            error=score.error,
            top5_error=score.top5_error,
            ensemble_error=ensemble.error() if dropped else ensemble.add(identity, logits),
            loss=score.loss,
            split=score.split,
            examples=score.examples,
            params=cost.params,
            macs=cost.macs,
            partial=dropped,
        )
        self._study.add(candidate, self._space.readable(architecture))
        ensemble.keep()
        self.candidates.append(candidate)
        self._seen.add(candidate.id)
        self._history.append(self._scored(candidate))
