"""The evaluation of trained networks: predictions, errors and their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smash._lazy import importer

if TYPE_CHECKING:
    from smash.evaluation.intervals import error_interval
    from smash.evaluation.predictions import (
        confusion,
        error_of,
        evaluate,
        expected_error_of,
        macro_f1,
        misses,
        over_views,
        predict,
    )
    from smash.evaluation.record import SPLITS, Evaluation
    from smash.evaluation.trainings import mean_error

__all__ = [
    "SPLITS",
    "Evaluation",
    "confusion",
    "error_interval",
    "error_of",
    "evaluate",
    "expected_error_of",
    "macro_f1",
    "mean_error",
    "misses",
    "over_views",
    "predict",
]

__getattr__ = importer(
    __name__,
    {
        "smash.evaluation.intervals": ("error_interval",),
        "smash.evaluation.predictions": (
            "predict",
            "evaluate",
            "confusion",
            "macro_f1",
            "over_views",
            "error_of",
            "expected_error_of",
            "misses",
        ),
        "smash.evaluation.record": ("Evaluation", "SPLITS"),
        "smash.evaluation.trainings": ("mean_error",),
    },
)
