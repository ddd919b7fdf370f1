"""What can be searched."""

from __future__ import annotations

from typing import Any

from smash.config import SpaceSettings
from smash.errors import InvalidValueError, unknown
from smash.spaces.base import SearchSpace, Task
from smash.spaces.memory_bank import PRESETS, MemoryBankSpace

__all__ = ["PRESETS", "SPACES", "MemoryBankSpace", "SearchSpace", "Task", "make_space"]

SPACES = ("memory-bank",)


def make_space(settings: SpaceSettings, dims: int) -> SearchSpace[Any]:
    """Makes the space that settings name.

    Args:
        settings: Name, preset and options of the space.
        dims: Spatial axes of the inputs.

    Raises:
        InvalidValueError: A name is not known, or an option is wrong.
    """
    if settings.name not in SPACES:
        raise InvalidValueError(unknown("space", settings.name, SPACES))
    if settings.preset not in PRESETS:
        raise InvalidValueError(unknown("preset", settings.preset, PRESETS))
    return MemoryBankSpace(PRESETS[settings.preset].replaced(**settings.options, dims=dims))
