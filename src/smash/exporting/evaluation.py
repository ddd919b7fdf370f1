"""The error of exported networks on the data of their run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from smash.data import Data
from smash.errors import InvalidValueError, listed
from smash.evaluation import Evaluation, evaluate
from smash.exporting.signature import Signature
from smash.run.layout import check_split


def as_exported(data: Data) -> Data:
    """Gives the same data for an exported network, which normalises its input itself."""
    channels = data.task.channels
    return replace(data, mean=(0.0,) * channels, std=(1.0,) * channels)


def check_fits(signature: Signature, data: Data) -> None:
    """Checks that a network takes the inputs of some data, and tells its classes.

    Raises:
        InvalidValueError: It is of other data.
    """
    task = data.task
    faults = [
        f"model must have the {what} of the data, {listed(map(str, wanted), 5)}, has "
        f"{listed(map(str, found), 5)}: name a file that was exported from this run"
        for what, wanted, found in (
            ("classes", data.classes, signature.classes),
            ("channels", (task.channels,), (signature.channels,)),
            ("size", task.size, signature.size),
        )
        if tuple(wanted) != tuple(found)
    ]
    if faults:
        raise InvalidValueError(*faults)


def evaluate_exported(
    network: Callable[[Tensor], Tensor], data: Data, split: str = "val"
) -> Evaluation:
    """Evaluates an exported network on a split, on the CPU.

    Raises:
        InvalidValueError: The split is unknown.
    """
    check_split(split)
    return evaluate(cast(nn.Module, network), getattr(data, split), as_exported(data), split)
