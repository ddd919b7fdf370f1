"""The error of exported networks on the data of their run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from smash.data import Data
from smash.errors import InvalidValueError
from smash.evaluation import Evaluation, evaluate

_SPLITS = ("train", "val", "test")


def as_exported(data: Data) -> Data:
    """Gives the same data for an exported network, which normalises its input itself."""
    channels = data.task.channels
    return replace(data, mean=(0.0,) * channels, std=(1.0,) * channels)


def evaluate_exported(
    network: Callable[[Tensor], Tensor], data: Data, split: str = "val"
) -> Evaluation:
    """Evaluates an exported network on a split, on the CPU.

    Raises:
        InvalidValueError: The split is unknown.
    """
    if split not in _SPLITS:
        raise InvalidValueError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}")
    return evaluate(cast(nn.Module, network), getattr(data, split), as_exported(data), split)
