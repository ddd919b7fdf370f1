"""What the work costs, as ratios: `smash bench`."""

from smash.benching.figures import FIGURES, QUICK, Effort, Row, as_json, bench
from smash.benching.setting import SIZES, Setting, Size, synthetic
from smash.benching.turns import in_turn, ratio_of

__all__ = [
    "FIGURES",
    "QUICK",
    "SIZES",
    "Effort",
    "Row",
    "Setting",
    "Size",
    "as_json",
    "bench",
    "in_turn",
    "ratio_of",
    "synthetic",
]
