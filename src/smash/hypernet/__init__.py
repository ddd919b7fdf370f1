"""Where the weights of a child network come from."""

from smash.hypernet.smash_network import HYPERNETS, SmashNetwork

__all__ = ["HYPERNETS", "SmashNetwork"]
