"""Torch's layers by number of spatial axes, made without drawing initial values.

A child network is built on the meta device thousands of times, where values are neither needed nor
kept, and drawing them would be half of the cost. `smash.retraining` initialises what is trained.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class _Conv1d(nn.Conv1d):
    def reset_parameters(self) -> None:
        pass


class _Conv2d(nn.Conv2d):
    def reset_parameters(self) -> None:
        pass


class _Conv3d(nn.Conv3d):
    def reset_parameters(self) -> None:
        pass


class Linear(nn.Linear):
    """A linear layer."""

    def reset_parameters(self) -> None:
        """Leaves the values open."""


_CONVOLUTIONS: dict[int, Any] = {1: _Conv1d, 2: _Conv2d, 3: _Conv3d}
_NORMS: dict[int, Any] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_POOLS: dict[int, Any] = {
    1: nn.functional.avg_pool1d,
    2: nn.functional.avg_pool2d,
    3: nn.functional.avg_pool3d,
}


def convolution(
    inputs: int,
    outputs: int,
    kernel: tuple[int, ...],
    *,
    device: str,
    stride: tuple[int, ...] | int = 1,
    dilation: tuple[int, ...] | int = 1,
    groups: int = 1,
) -> nn.Module:
    """A convolution without bias that keeps the extent (but for the stride); odd kernels."""
    dims = len(kernel)
    dilations = (dilation,) * dims if isinstance(dilation, int) else dilation
    layer: nn.Module = _CONVOLUTIONS[dims](
        inputs,
        outputs,
        kernel,
        stride=stride,
        padding=tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilations, strict=True)),
        dilation=dilations,
        groups=groups,
        bias=False,
        device=device,
    )
    return layer


def batch_norm(channels: int, dims: int, *, device: str) -> nn.Module:
    """A BatchNorm over `dims` spatial axes."""
    layer: nn.Module = _NORMS[dims](channels, device=device)
    return layer


def average_pool(x: torch.Tensor, extent: int) -> torch.Tensor:
    """Averages N×C×spatial over windows of `extent`, without overlap."""
    pooled: torch.Tensor = _POOLS[x.ndim - 2](x, extent)
    return pooled
