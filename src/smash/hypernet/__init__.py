"""Sources of weights for child networks: generated, low-rank or shared."""

from smash.hypernet.smash_network import HYPERNETS, SmashNetwork
from smash.hypernet.source import WeightSource

__all__ = ["HYPERNETS", "SmashNetwork", "WeightSource"]
