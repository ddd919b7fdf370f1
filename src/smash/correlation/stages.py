"""Training of candidates in stages, until their ranking is shown to agree or the time is over.

After 8, 16, 32 and 64 trainings the ranking is tested for agreement with the real accuracies, each
time at a quarter of a level of 5% (Bonferroni), so that a worthless ranking passes in at most 5% of
cases.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from scipy import stats

from smash.config import ChildSettings, Length
from smash.correlation.ground_truth import audit_cut
from smash.run.child import build, describe_child
from smash.run.run import Run
from smash.runtime.rng import torch_generator
from smash.scoring.rank_aggregation import dense_ranks
from smash.spaces.parameters import initialise
from smash.study.candidate import Candidate
from smash.training.child import ChildTraining, network_of
from smash.training.timing import TIMED_STEPS, measure_pace

LOOKS = (8, 16, 32, 64)
"""Numbers of trained candidates at which the ranking is tested."""

LEVEL = 0.05
"""Upper bound on the probability that a worthless ranking passes any look."""

_AIM = 24  # trainings that should fit in the time
_MOST_EPOCHS = 30


def spread_over_ranks(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Orders candidates so that each beginning of the order comes from all over the ranking.

    Ranks follow the sequence of van der Corput: the best, the middle, the quarters and so on.

    Args:
        candidates: The candidates, best first.

    Returns:
        The same candidates, in this order.
    """
    n = len(candidates)
    points = stats.qmc.Halton(d=1, scramble=False).random(2 ** math.ceil(math.log2(n)))
    ranks = dict.fromkeys((points.ravel() * n).astype(int).tolist())
    return [candidates[rank] for rank in ranks]


def agrees_beyond_chance(ranking: ArrayLike, truth: ArrayLike) -> bool:
    """Tells whether a ranking agrees with the truth beyond chance, by Kendall's τ at one look.

    Args:
        ranking: Shape (n,), higher is better.
        truth: Shape (n,), higher is better.
    """
    found = stats.kendalltau(dense_ranks(ranking), dense_ranks(truth), alternative="greater")
    return bool(found.pvalue < LEVEL / len(LOOKS))  # False for NaN, of a constant


def choose_epochs(
    run: Run, candidate: Candidate, settings: ChildSettings, minutes: float, device: torch.device
) -> int:
    """Chooses how long candidates are trained, so that about 24 trainings fit in some minutes.

    Args:
        run: The run.
        candidate: One of about the mean cost.
        settings: The settings of its training.
        minutes: Minutes for all trainings.
        device: The device to train on.
    """
    data = audit_cut(run.data)[0].to(device)
    model = build(run, describe_child(network_of(candidate), settings, data), device)
    initialise(model, torch_generator(settings.seed, "initial weights"))
    trial = ChildTraining("timing", model, data, settings, length=Length(steps=TIMED_STEPS))
    seconds = 60 * minutes / _AIM
    pace = measure_pace(trial, seconds)
    steps = pace.steps_in(seconds, trial.per_epoch * (settings.validate_every or math.inf))
    return min(_MOST_EPOCHS, max(1, steps // trial.per_epoch))


class TrainingClock:
    """Tells whether another training ends in time, by the longest of those so far.

    Args:
        minutes: The time, from now on.

    Example:
        >>> clock = TrainingClock(minutes=1.0)
        >>> clock.record_training()
        True
    """

    def __init__(self, minutes: float) -> None:
        self._begun = self._last = time.monotonic()
        self._seconds, self._longest = 60 * minutes, 0.0

    def record_training(self) -> bool:
        """Records the end of a training; returns whether there is time for another."""
        now = time.monotonic()
        self._longest, self._last = max(self._longest, now - self._last), now
        return now - self._begun + self._longest <= self._seconds
