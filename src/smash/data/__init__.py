"""Data: sources of examples, the three splits, and the way of examples to a network."""

from smash.data.batches import batches, class_weights, epoch_order, training_batch
from smash.data.check import Report, check_data
from smash.data.dataset import Data, Split
from smash.data.downscale import shrink
from smash.data.load import DATASETS, load_data
from smash.data.sources.memory import IN_MEMORY
from smash.data.transforms import Augmentation, normalise

__all__ = [
    "DATASETS",
    "IN_MEMORY",
    "Augmentation",
    "Data",
    "Report",
    "Split",
    "batches",
    "check_data",
    "class_weights",
    "epoch_order",
    "load_data",
    "normalise",
    "shrink",
    "training_batch",
]
