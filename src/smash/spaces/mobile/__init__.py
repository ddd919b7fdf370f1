"""Networks for devices: the blocks that people put on them, written with `choose`."""

from smash.spaces.mobile.network import MobileNetwork
from smash.spaces.mobile.space import MOBILE_PRESETS, MobileSpace

__all__ = ["MOBILE_PRESETS", "MobileNetwork", "MobileSpace"]
