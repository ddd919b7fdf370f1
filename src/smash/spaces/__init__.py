"""What can be searched."""

from __future__ import annotations

from typing import Any

from smash.config import SpaceSettings
from smash.errors import InvalidValueError, unknown
from smash.spaces.base import SearchSpace, Task
from smash.spaces.memory_bank import PRESETS, MemoryBankSpace
from smash.spaces.nas_bench_201 import NasBench201Options, NasBench201Space

__all__ = [
    "PRESETS",
    "SPACES",
    "MemoryBankSpace",
    "NasBench201Space",
    "SearchSpace",
    "Task",
    "make_space",
]

SPACES = (MemoryBankSpace.name, NasBench201Space.name)


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
    if settings.name == NasBench201Space.name:
        if settings.preset is not None:
            raise InvalidValueError(
                f"preset {settings.preset!r} is one of memory banks, not of the space "
                f"{settings.name!r}: leave it out"
            )
        return NasBench201Space(NasBench201Options(**settings.options))
    preset = settings.preset or "small"
    if preset not in PRESETS:
        raise InvalidValueError(unknown("preset", preset, PRESETS))
    return MemoryBankSpace(PRESETS[preset].replaced(**settings.options, dims=dims))
