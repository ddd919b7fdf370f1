"""The cell space of NAS-Bench-201, with published accuracies of all of its architectures."""

from smash.spaces.nas_bench_201.architecture import (
    EDGES,
    OPERATIONS,
    CellArchitecture,
    NasBench201Options,
)
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
