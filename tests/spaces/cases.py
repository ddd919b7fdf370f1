"""Options that go to the edges of the memory-bank space, and what tests make children from."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from smash.spaces import PRESETS, Task
from smash.spaces.memory_bank import (
    Block,
    Convolution,
    Gate,
    MemoryBankArchitecture,
    MemoryBankOptions,
    Op,
)

_TINY = PRESETS["tiny"]

OPTIONS: Mapping[str, MemoryBankOptions] = {
    **PRESETS,
    "grid-var": _TINY.replaced(grid="var"),
    "grid-big": _TINY.replaced(grid="big"),
    "grid-long": _TINY.replaced(grid="long"),
    "all-variable": PRESETS["small"].replaced(grid="var", variable_nonlinearity=True, max_kernel=7),
    "none-variable": _TINY.replaced(variable_kernel=False, variable_groups=False),
    "kernels-only": _TINY.replaced(variable_groups=False, max_kernel=9, max_dilation=1),
    "postactivation": _TINY.replaced(preactivation=False, grid="var", variable_nonlinearity=True),
    "bare": _TINY.replaced(normalisation="bare", grid="big"),
    "bare-op-norm": _TINY.replaced(normalisation="bare", op_norm=True, grid="var"),
    "op-norm": _TINY.replaced(op_norm=True, grid="var"),
    "op-norm-post": _TINY.replaced(op_norm=True, preactivation=False, grid="long"),
    "deep": _TINY.replaced(depth=9, width=2, max_width=64, grid="var"),
    "narrow": _TINY.replaced(bank_width=6, max_width=18, max_groups=3, bottleneck=2),
    "one-bottleneck": _TINY.replaced(bottleneck=1, max_bottleneck=1, depth=1),
    "many-columns": _TINY.replaced(bank_width=4, max_width=16, max_bottleneck=3, max_groups=2),
    "bank-size-1": _TINY.replaced(bank_size=1, width=2),
    "bank-size-2": _TINY.replaced(bank_size=2),
    "uncompressed": _TINY.replaced(depth_compression=1, grid="long"),
    "compressed": _TINY.replaced(depth_compression=3, width=3, max_width=48),
    "signal": _TINY.replaced(dims=1, grid="var", max_kernel=7),
    "gates": _TINY.replaced(gates=True, grid="var"),
    "gates-post": _TINY.replaced(
        gates=True, preactivation=False, grid="big", variable_nonlinearity=True
    ),
    "gates-bare-op-norm": _TINY.replaced(
        gates=True, normalisation="bare", op_norm=True, grid="var"
    ),
    "gates-deep": _TINY.replaced(
        gates=True, depth=9, width=2, max_width=64, op_norm=True, grid="var"
    ),
    "gates-signal": _TINY.replaced(gates=True, dims=1, normalisation="bare", grid="big"),
    "voxels": _TINY.replaced(dims=3, grid="var", variable_nonlinearity=True, max_kernel=5),
}
BIG = ("original", "v1", "v2")
SMALL = sorted(set(OPTIONS) - {*BIG, "deep", "gates-deep"})
"""Options whose children are cheap."""


def task_of(options: MemoryBankOptions) -> Task:
    """A tiny task: inputs of extent 8."""
    return Task(channels=2, size=(8,) * options.dims, classes=3)


def images_of(task: Task, seed: int, count: int = 4) -> torch.Tensor:
    """Random inputs, count×channels×spatial."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, task.channels, *task.size, generator=generator)


def randomise(module: nn.Module, seed: int) -> None:
    """Moves all parameters and running statistics, so that no two channels are alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            spread = 0.3 if parameter.ndim == 1 else 0.1
            parameter.add_(spread * noise.to(parameter.dtype))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))


def fill(module: nn.Module, seed: int) -> None:
    """Gives a freshly built child values: He's for weights, about the identity for norms."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                values = 1 + 0.3 * values
            else:
                values = values * (2 / parameter[0].numel()) ** 0.5
            parameter.copy_(values)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))


def convolution(
    extent: int = 3, dims: int = 2, dilation: int = 1, groups: int = 1, nonlinearity: str = "relu"
) -> Convolution:
    return Convolution((extent,) * dims, (dilation,) * dims, groups, nonlinearity)


def op(
    reads: tuple[int, ...],
    writes: tuple[int, ...],
    outputs: int,
    *grid: Convolution | None,
    gate: Gate | None = None,
) -> Op:
    """An op; a grid that is not given is a single 3×3 convolution."""
    padded = [*(grid or [convolution()]), None, None, None]
    return Op(reads, writes, outputs, tuple(padded[:4]), gate)


def architecture(*blocks: Block) -> MemoryBankArchitecture:
    return MemoryBankArchitecture(blocks)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)
