"""Options of the memory-bank space that together use every choice there is."""

from __future__ import annotations

from typing import Any

from smash.spaces.memory_bank import PRESETS, MemoryBankOptions

_SMALL: dict[str, Any] = {"depth": 3, "width": 1, "bank_width": 4, "max_width": 16, "max_groups": 4}

OPTIONS = {
    **PRESETS,
    "var": MemoryBankOptions(**_SMALL, grid="var", variable_nonlinearity=True),
    "long": MemoryBankOptions(**_SMALL, grid="long", preactivation=False),
    "big": MemoryBankOptions(**_SMALL, grid="big", normalisation="bare", op_norm=True),
    "bare": MemoryBankOptions(**_SMALL, grid="var", normalisation="bare", preactivation=False),
    "op norm": MemoryBankOptions(**_SMALL, grid="var", op_norm=True, max_bottleneck=1),
    "static": MemoryBankOptions(**_SMALL, variable_kernel=False, variable_groups=False),
    "fixed bank": MemoryBankOptions(**_SMALL, bank_size=2, bottleneck=1, max_dilation=1),
    "compression": MemoryBankOptions(**_SMALL, depth_compression=1, stem_stride=2),
    "signals": MemoryBankOptions(**_SMALL, grid="var", dims=1),
    "volumes": MemoryBankOptions(**_SMALL, grid="var", dims=3, max_kernel=3),
}
