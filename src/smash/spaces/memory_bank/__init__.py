"""Networks of memory banks: the search space of the paper (Brock et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smash._lazy import importer
from smash.spaces.memory_bank.architecture import (
    Block,
    Convolution,
    Gate,
    MemoryBankArchitecture,
    Op,
)
from smash.spaces.memory_bank.options import PRESETS, MemoryBankOptions

if TYPE_CHECKING:
    from smash.spaces.memory_bank.network import MemoryBankNetwork
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

__getattr__ = importer(
    __name__,
    {
        "smash.spaces.memory_bank.network": ("MemoryBankNetwork",),
        "smash.spaces.memory_bank.space": ("MemoryBankSpace",),
    },
)
