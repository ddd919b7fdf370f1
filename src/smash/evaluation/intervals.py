"""Intervals of errors, over examples and over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smash.evaluation.record import Evaluation

_Z = NormalDist().inv_cdf(0.975)  # of a 95% interval


def error_interval(
    error: float, examples: int, seed_half_width: float = 0.0
) -> tuple[float, float]:
    """Computes the 95% interval of an error, or of the mean error of several trainings.

    The examples contribute Wilson's interval, written out because SciPy's takes a whole number of
    errors, and a mean over seeds is none; the two widths add up as independent deviations do.

    Args:
        error: The error, 0…1.
        examples: The number of examples.
        seed_half_width: Half of the interval over seeds.
    """
    share = _Z * _Z / examples
    centre = (error + share / 2) / (1 + share)
    half = _Z / (1 + share)
    half *= math.sqrt(error * (1 - error) / examples + share / (4 * examples))
    low = error - math.hypot(error - max(0.0, centre - half), seed_half_width)
    high = error + math.hypot(centre + half - error, seed_half_width)
    return max(0.0, low), min(1.0, high)


def mean_error(evaluations: Sequence[Evaluation]) -> tuple[float, float, float]:
    """Computes the mean error of trainings that differ in their seed, on the same examples.

    Returns:
        The mean, and its 95% interval over seeds (Student) and examples (Wilson), 0…1.
    """
    errors = [each.error for each in evaluations]
    mean, seed_half_width = fmean(errors), 0.0
    if len(errors) > 1:
        from scipy.special import stdtrit  # takes longer to import than most commands run

        t = float(stdtrit(len(errors) - 1, 0.975))
        seed_half_width = t * stdev(errors) / math.sqrt(len(errors))
    return mean, *error_interval(mean, evaluations[0].examples, seed_half_width)
