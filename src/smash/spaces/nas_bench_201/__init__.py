"""The cell space of NAS-Bench-201, with published accuracies of all of its architectures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smash._lazy import importer
from smash.spaces.nas_bench_201.options import NasBench201Options

if TYPE_CHECKING:
    from smash.spaces.nas_bench_201.architecture import EDGES, OPERATIONS, CellArchitecture
    from smash.spaces.nas_bench_201.network import CellNetwork
    from smash.spaces.nas_bench_201.space import NasBench201Space

__all__ = [
    "EDGES",
    "OPERATIONS",
    "CellArchitecture",
    "CellNetwork",
    "NasBench201Options",
    "NasBench201Space",
]

__getattr__ = importer(
    __name__,
    {
        "smash.spaces.nas_bench_201.architecture": ("EDGES", "OPERATIONS", "CellArchitecture"),
        "smash.spaces.nas_bench_201.network": ("CellNetwork",),
        "smash.spaces.nas_bench_201.space": ("NasBench201Space",),
    },
)
