"""Measures the cost of training steps, scoring, sampling, data loading, studies and start-up."""

from benchmarks.speed.measurements import MEASUREMENTS, QUICK, Effort, Row, measure
from benchmarks.speed.timing import ratio_of, take_turns
from benchmarks.speed.workload import SIZES, Size, Workload, synthetic_data

__all__ = [
    "MEASUREMENTS",
    "QUICK",
    "SIZES",
    "Effort",
    "Row",
    "Size",
    "Workload",
    "measure",
    "ratio_of",
    "synthetic_data",
    "take_turns",
]
