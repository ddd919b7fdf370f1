"""Named options of the memory-bank space."""

from __future__ import annotations

from collections.abc import Mapping

from smash.spaces.memory_bank.options import MemoryBankOptions

PRESETS: Mapping[str, MemoryBankOptions] = {
    # The released program's defaults, with the ops of its SMASH network.
    "original": MemoryBankOptions(normalisation="bare"),
    # SMASHv1: one 3×3 convolution an op; what varies is who reads and writes, G and dilation.
    "v1": MemoryBankOptions(
        bank_size=2, max_kernel=3, variable_kernel=False, max_groups=1, variable_groups=False
    ),
    # SMASHv2: grids, kernels, groups and bottlenecks vary too.
    "v2": MemoryBankOptions(grid="var"),
    # For a CPU: CIFAR-10 in minutes.
    "small": MemoryBankOptions(depth=4, width=1, max_width=32, max_kernel=5),
    # For images of 8×8, such as scikit-learn's digits.
    "tiny": MemoryBankOptions(depth=4, width=1, max_width=32, max_kernel=3),
}
