"""Plain networks of small devices, each of one family and any width: what one picks by hand.

This module needs torch, and the modules of children that need nothing else.

Legend: tensors are N×C×spatial.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from smash.spaces.layers import fitting_stride
from smash.spaces.mobile.network import Block, BlockShape, ConvNormAct, Head
from smash.spaces.task import Task


class PlainNetwork(nn.Module):
    """A network of one family, by its width.

    Args:
        family: One of `PLAIN_FAMILIES`.
        width: Channels of the first stage.
        task: The task.
    """

    def __init__(self, family: str, width: int, task: Task) -> None:
        super().__init__()
        self.body, outputs = PLAIN_FAMILIES[family](width, task)
        self.head = Head(task.dims, outputs, 0, task.classes, "relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps N×channels×spatial to logits, N×classes."""
        logits: Tensor = self.head(self.body(inputs))
        return logits


def _mlperf_resnet(width: int, task: Task) -> tuple[nn.Sequential, int]:
    """Builds ResNet-8 of MLPerf Tiny (Banbury et al. 2021), which has the width 16."""
    kinds = [("residual", 1)] * 3
    return _staged(task, width, [width, 2 * width, 4 * width], [1, 1, 1], kinds)


def _mobilenet(width: int, task: Task) -> tuple[nn.Sequential, int]:
    """Builds inverted residuals at falling resolution (MobileNetV2, Sandler et al. 2018)."""
    kinds = [("inverted", 1), ("inverted", 6), ("inverted", 6)]
    return _staged(task, 2 * width, [width, 2 * width, 4 * width], [1, 2, 2], kinds)


def _ds_cnn(width: int, task: Task) -> tuple[nn.Sequential, int]:
    """Builds a convolution and four depthwise separable ones (DS-CNN, Zhang et al. 2018)."""
    body = nn.Sequential(_stem(task, width), ConvNormAct(task.dims, (width, width), 3, 2))
    for _ in range(4):
        body.append(_block(task, "separable", (width, width)))
    return body, width


def _cnn(width: int, task: Task) -> tuple[nn.Sequential, int]:
    """Builds three 3×3 convolutions, the second and third of stride 2."""
    body = nn.Sequential(
        _stem(task, width),
        ConvNormAct(task.dims, (width, 2 * width), 3, 2),
        ConvNormAct(task.dims, (2 * width, 4 * width), 3, 2),
    )
    return body, 4 * width


def _inception(width: int, task: Task) -> tuple[nn.Sequential, int]:
    """Builds three modules of parallel long kernels (InceptionTime, Ismail Fawaz et al. 2020)."""
    outputs = 4 * width
    body = nn.Sequential(_stem(task, width), _Inception(task.dims, width, width))
    body.append(_Inception(task.dims, outputs, width))
    body.append(_Inception(task.dims, outputs, width))
    return body, outputs


class _Inception(nn.Module):
    """Kernels of 9, 19 and 39 side by side over a bottleneck, and one over the largest values."""

    def __init__(self, dims: int, inputs: int, width: int) -> None:
        super().__init__()
        self.bottleneck = ConvNormAct(dims, (inputs, width))
        self.paths = nn.ModuleList(
            ConvNormAct(dims, (width, width), kernel) for kernel in (9, 19, 39)
        )
        self.pooled = ConvNormAct(dims, (inputs, width))
        self.pool: Any = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[dims](3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.bottleneck(x)
        paths = [path(narrow) for path in self.paths]
        return torch.cat([*paths, self.pooled(self.pool(x))], dim=1)


PLAIN_FAMILIES: dict[str, Callable[[int, Task], tuple[nn.Sequential, int]]] = {
    "mlperf-resnet": _mlperf_resnet,
    "mobilenet": _mobilenet,
    "ds-cnn": _ds_cnn,
    "cnn": _cnn,
    "inception": _inception,
}
"""Builders of the body of each family; each gives the body and its number of channels."""


def plain_families(dims: int) -> tuple[str, ...]:
    """Names the families that suit inputs with `dims` spatial axes."""
    return tuple(name for name in PLAIN_FAMILIES if name != "inception" or dims == 1)


def _staged(
    task: Task, stem: int, widths: list[int], depths: list[int], kinds: list[tuple[str, int]]
) -> tuple[nn.Sequential, int]:
    body, inputs = nn.Sequential(_stem(task, stem)), stem
    for stage, (width, depth, (kind, expansion)) in enumerate(
        zip(widths, depths, kinds, strict=True)
    ):
        for number in range(depth):
            stride = 2 if stage and not number else 1
            body.append(_block(task, kind, (inputs, width), stride, expansion))
            inputs = width
    return body, inputs


def _stem(task: Task, width: int) -> ConvNormAct:
    return ConvNormAct(task.dims, (task.channels, width), 3, fitting_stride(task.size))


def _block(
    task: Task, kind: str, channels: tuple[int, int], stride: int = 1, expansion: int = 1
) -> Block:
    shape = BlockShape(kind, channels, 3, stride, expansion, squeeze=False, activation="relu")
    return Block(task.dims, shape)
