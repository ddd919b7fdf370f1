"""The interval of an error over examples."""

from __future__ import annotations

import math
from statistics import NormalDist

Z = NormalDist().inv_cdf(0.975)
"""Half width of a 95% interval, in standard deviations."""


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
    share = Z * Z / examples
    centre = (error + share / 2) / (1 + share)
    half = Z / (1 + share)
    half *= math.sqrt(error * (1 - error) / examples + share / (4 * examples))
    low = error - math.hypot(error - max(0.0, centre - half), seed_half_width)
    high = error + math.hypot(centre + half - error, seed_half_width)
    return max(0.0, low), min(1.0, high)
