"""Settings: one frozen model for each verb holds all that the verb can be asked for.

The docstring under a field is the help of its option on the command line and its row in the
documentation's table of settings.
"""

from smash.config.description import FieldDescription, describe
from smash.config.length import Length
from smash.config.models import (
    AUGMENTED_EPOCHS,
    MOST,
    ChildSettings,
    Count,
    DataSettings,
    Device,
    Epochs,
    Fraction,
    LoadSettings,
    LoopSettings,
    Minutes,
    NotNegative,
    PathText,
    Positive,
    RayAddress,
    RunSettings,
    Seed,
    SpaceSettings,
    TrainingPlan,
    TrainingSettings,
    fold_numbers,
)
from smash.config.settings import Option, Settings, refuse_changes

__all__ = [
    "AUGMENTED_EPOCHS",
    "MOST",
    "ChildSettings",
    "Count",
    "DataSettings",
    "Device",
    "Epochs",
    "FieldDescription",
    "Fraction",
    "Length",
    "LoadSettings",
    "LoopSettings",
    "Minutes",
    "NotNegative",
    "Option",
    "PathText",
    "Positive",
    "RayAddress",
    "RunSettings",
    "Seed",
    "Settings",
    "SpaceSettings",
    "TrainingPlan",
    "TrainingSettings",
    "describe",
    "fold_numbers",
    "refuse_changes",
]
