"""Where the weights of a child network come from."""

from smash.hypernet.smash_network import HYPERNETS, SmashNetwork
from smash.hypernet.source import WeightSource

__all__ = ["HYPERNETS", "SmashNetwork", "WeightSource"]
