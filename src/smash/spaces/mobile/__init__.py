"""Networks for devices: the blocks that people put on them, written with `choose`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smash._lazy import importer
from smash.spaces.mobile.options import MobileOptions
from smash.spaces.mobile.presets import MOBILE_PRESETS, choose_options

if TYPE_CHECKING:
    from smash.spaces.mobile.network import MobileNetwork
    from smash.spaces.mobile.space import MobileSpace

__all__ = ["MOBILE_PRESETS", "MobileNetwork", "MobileOptions", "MobileSpace", "choose_options"]

__getattr__ = importer(
    __name__,
    {
        "smash.spaces.mobile.network": ("MobileNetwork",),
        "smash.spaces.mobile.space": ("MobileSpace",),
    },
)
