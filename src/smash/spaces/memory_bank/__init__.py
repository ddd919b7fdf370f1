"""Networks of memory banks: the search space of the paper (Brock et al. 2017)."""

from smash.spaces.memory_bank.architecture import (
    Block,
    Convolution,
    Gate,
    MemoryBankArchitecture,
    Op,
)
from smash.spaces.memory_bank.network import MemoryBankNetwork
from smash.spaces.memory_bank.options import PRESETS, MemoryBankOptions
from smash.spaces.memory_bank.space import MemoryBankSpace

__all__ = [
    "PRESETS",
    "Block",
    "Convolution",
    "Gate",
    "MemoryBankArchitecture",
    "MemoryBankNetwork",
    "MemoryBankOptions",
    "MemoryBankSpace",
    "Op",
]
