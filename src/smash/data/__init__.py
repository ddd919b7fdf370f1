"""Data: sources of examples, the three splits, and the way of examples to a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smash._lazy import importer

if TYPE_CHECKING:
    from smash.data.batches import class_weights, epoch_order, training_batch
    from smash.data.check import Report, check_data
    from smash.data.dataset import Data, Split
    from smash.data.downscale import shrink
    from smash.data.load import load_data
    from smash.data.names import DATASETS
    from smash.data.sources.memory import IN_MEMORY
    from smash.data.transforms import Augmentation, normalise

__all__ = [
    "DATASETS",
    "IN_MEMORY",
    "Augmentation",
    "Data",
    "Report",
    "Split",
    "check_data",
    "class_weights",
    "epoch_order",
    "load_data",
    "normalise",
    "shrink",
    "training_batch",
]

__getattr__ = importer(
    __name__,
    {
        "smash.data.batches": ("class_weights", "epoch_order", "training_batch"),
        "smash.data.check": ("Report", "check_data"),
        "smash.data.dataset": ("Data", "Split"),
        "smash.data.downscale": ("shrink",),
        "smash.data.load": ("load_data",),
        "smash.data.names": ("DATASETS",),
        "smash.data.sources.memory": ("IN_MEMORY",),
        "smash.data.transforms": ("Augmentation", "normalise"),
    },
)
