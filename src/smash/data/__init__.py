"""Where examples come from: `load_data`, and what happens to them on their way to a network."""

from smash.data.augmentation import Augmentation
from smash.data.balancing import class_weights
from smash.data.base import Data, Split
from smash.data.batching import batches, epoch_order, training_batch
from smash.data.checking import Report, check_data
from smash.data.loading import DATASETS, load_data
from smash.data.memory import IN_MEMORY
from smash.data.normalising import normalise
from smash.data.shrinking import shrink

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
