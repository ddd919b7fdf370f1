"""Intervals of the errors of several trainings, over their seeds and over the examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smash.evaluation.intervals import Z, error_interval
from smash.io.records import Interval

if TYPE_CHECKING:
    from smash.evaluation.record import Evaluation

_OUTLIER = 0.01  # level of the test for networks that deviate more by the seed than the others

Wrong = NDArray[np.bool_]
"""Misclassified examples, seeds × examples."""


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
        from scipy.special import stdtrit  # takes longer to import than most commands run

        t = float(stdtrit(self.freedom, 0.975))
        return t * self.deviation / float(np.sqrt(trainings))


def spreads_of(wrongs: Sequence[Wrong]) -> list[SeedSpread]:
    """Estimates for each network how much its error deviates by the seed.

    Few seeds tell little of one network, so the estimate is pooled over all. One that deviates far
    more than the others (Cochran's test at 1%), as where a training collapsed, has its own.

    Args:
        wrongs: For each network its misclassified examples, seeds × examples.
    """
    from scipy.special import fdtri  # takes longer to import than most commands run

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


def mean_error_interval(wrong: Wrong, spread: SeedSpread) -> Interval:
    """Computes the mean error of several trainings with its interval.

    The examples contribute Wilson's interval of the mean error, the seeds Student's of their means;
    both widths add up as independent deviations do.

    Args:
        wrong: Misclassified examples, seeds × examples.
        spread: Deviation by the seed.
    """
    trainings, examples = wrong.shape
    mean = float(wrong.mean())
    low, high = error_interval(mean, examples, spread.half_width(trainings))
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
        Positive where the other network is better; the interval as in `mean_error_interval`.
    """
    if wrong is reference:
        return Interval(value=0.0, low=0.0, high=0.0)
    of_seeds = [each.half_width(len(wrong)) for each in (spread, reference_spread)]
    return _interval_of_mean(wrong.mean(0) - reference.mean(0), *of_seeds)


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
    """Gives the mean over examples, −1…1, with its interval, widened by independent half widths.

    The interval over examples is that of Bonett and Price (2012), as if each of the two networks
    had missed one more example by itself: without them that of few examples is too narrow, and
    empty where both miss the same.
    """
    value = float(of_example.mean())
    added = np.append(of_example, [1.0, -1.0])
    centre, half = float(added.mean()), Z * float(added.std()) / float(np.sqrt(added.size))
    low = value - float(np.linalg.norm([value - (centre - half), *half_widths]))
    high = value + float(np.linalg.norm([centre + half - value, *half_widths]))
    return Interval(value=value, low=max(-1.0, low), high=min(1.0, high))


def mean_error(evaluations: Sequence[Evaluation]) -> tuple[float, float, float]:
    """Computes the mean error of trainings that differ in their seed, on the same examples.

    Returns:
        The mean, and its 95% interval over seeds (Student) and examples (Wilson), 0…1.
    """
    errors = [each.error for each in evaluations]
    mean, of_seeds = fmean(errors), 0.0
    if len(errors) > 1:
        of_seeds = SeedSpread(stdev(errors), len(errors) - 1).half_width(len(errors))
    return mean, *error_interval(mean, evaluations[0].examples, of_seeds)
