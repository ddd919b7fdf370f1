"""Presets of the space for devices, by the size of what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from smash.errors import InvalidValueError, unknown
from smash.spaces.mobile.options import MobileOptions
from smash.spaces.mobile.validation import CheckedOptions

MOBILE_PRESETS: dict[str, MobileOptions] = {
    "tiny": MobileOptions(
        stem=(4, 8, 12), widths=((4, 8, 12), (8, 12, 16), (12, 16, 24)),
        depths=(1, 2), expansions=(1, 2, 3, 4),
    ),
    "small": MobileOptions(
        stem=(8, 12, 16), widths=((8, 12, 16), (16, 24, 32), (24, 32, 48, 64)),
        depths=(1, 2, 3), expansions=(1, 2, 3, 4),
    ),
    "base": MobileOptions(
        stem=(16, 24, 32), widths=((16, 24, 32), (32, 48, 64), (64, 96, 128)),
        depths=(1, 2, 3, 4), kernels=(3, 5, 7), expansions=(1, 2, 3, 4, 6), squeeze=True,
        activations=("relu", "hard-swish"), heads=(0, 256, 512),
    ),
}  # fmt: skip
"""Children of 5–50 thousand, 20–300 thousand and 0.3–5 million parameters, most of them."""


def choose_options(preset: str, options: Mapping[str, Any]) -> MobileOptions:
    """Gives the options of a preset, some of them replaced.

    Args:
        preset: ``tiny``, ``small`` or ``base``.
        options: Fields that differ from the preset's.

    Raises:
        InvalidValueError: The preset or an option is not known, or an option is wrong.
    """
    if preset not in MOBILE_PRESETS:
        raise InvalidValueError(unknown("preset", preset, MOBILE_PRESETS))
    names = [field.name for field in fields(MobileOptions)]
    faults = [unknown("option", name, names) for name in options if name not in names]
    if faults:
        raise InvalidValueError(*faults)
    return CheckedOptions(**{**vars(MOBILE_PRESETS[preset]), **options}).options
