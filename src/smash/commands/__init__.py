"""The commands of ``smash``, one module each: they read flags, call the package and print.

What is heavy is imported in the commands: help and usage errors answer at once.
"""

from smash.commands import (
    bench,
    correlate,
    data,
    demo,
    evaluate,
    export,
    predict,
    report,
    retrain,
    search,
    show,
    train,
)

__all__ = [
    "bench",
    "correlate",
    "data",
    "demo",
    "evaluate",
    "export",
    "predict",
    "report",
    "retrain",
    "search",
    "show",
    "train",
]
