"""The child network of a cell: a stem, three stages of cells, reductions between them, a head.

Channels double and extents halve from stage to stage. (Dong and Yang 2020, section 2.1; layers in
the order of the published networks, so that parameters and MACs are theirs.)

Legend: tensors are N×C×spatial, with 1, 2 or 3 spatial axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smash.spaces.layers import (
    average_near,
    average_pool,
    batch_norm,
    channels_last,
    convolution,
    fitting_stride,
)
from smash.spaces.nas_bench_201.operations import KERNELS, NODES
from smash.spaces.task import Task

Edge = tuple[int, int, str]
"""An edge of a cell: source node, target node, operation."""

_STAGES = 3
_POOL_EXTENT = 3


class ReluConvNorm(nn.Module):
    """ReLU, convolution, BatchNorm."""

    def __init__(self, inputs: int, outputs: int, extent: int, dims: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = convolution(inputs, outputs, (extent,) * dims, stride=stride)
        self.norm = batch_norm(outputs, dims)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to N×outputs×(spatial / stride)."""
        y: Tensor = self.norm(self.conv(F.relu(x)))
        return y


class Cell(nn.Module):
    """The nodes of a cell, one after the other.

    A convolution is named after its operation and its edge, so that children share the weights of
    equal operations on equal edges. Edges that the output does not depend on are computed too, as
    published.
    """

    def __init__(self, edges: Sequence[Edge], channels: int, dims: int) -> None:
        super().__init__()
        self.edges = [edge for edge in edges if edge[2] != "none"]
        for source, target, operation in self.edges:
            if operation in KERNELS:
                layer = ReluConvNorm(channels, channels, KERNELS[operation], dims)
                self.add_module(f"{operation}_{source}_{target}", layer)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×channels×spatial to the same shape."""
        nodes: list[Tensor | None] = [x, *[None] * (NODES - 1)]
        for source, target, operation in self.edges:
            value = nodes[source]
            value = torch.zeros_like(x) if value is None else value
            if operation in KERNELS:
                value = self.get_submodule(f"{operation}_{source}_{target}")(value)
            elif operation == "avg_pool_3x3":
                value = average_near(value, _POOL_EXTENT)
            before = nodes[target]
            nodes[target] = value if before is None else before + value
        output = nodes[-1]
        return torch.zeros_like(x) if output is None else output


class Reduction(nn.Module):
    """A residual block that halves the extents: two 3×3 convolutions, and a pooled shortcut."""

    def __init__(self, inputs: int, outputs: int, dims: int) -> None:
        super().__init__()
        self.first = ReluConvNorm(inputs, outputs, 3, dims, stride=2)
        self.second = ReluConvNorm(outputs, outputs, 3, dims)
        self.shortcut = convolution(inputs, outputs, (1,) * dims)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to N×outputs×(spatial / 2), odd extents rounded up."""
        # ceil: the convolution rounds odd extents up, and so must the shortcut.
        y: Tensor = self.shortcut(average_pool(x, 2, ceil=True)) + self.second(self.first(x))
        return y


class CellNetwork(nn.Module):
    """Stem, stages and head around copies of one cell, each with its own weights.

    Args:
        edges: The edges of the cell, in order of their target.
        channels: Channels of the first stage; the second has twice, the third four times as many.
        cells: Cells per stage.
        stem_stride: Stride of the stem; if None, the one that fits the extent of the input.
        task: The task.
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        channels: int,
        cells: int,
        stem_stride: int | None,
        task: Task,
    ) -> None:
        super().__init__()
        dims = task.dims
        widths = [channels << stage for stage in range(_STAGES)]
        stride = fitting_stride(task.size) if stem_stride is None else stem_stride
        self.stem = convolution(task.channels, widths[0], (3,) * dims, stride=stride)
        self.stem_norm = batch_norm(widths[0], dims)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Cell(edges, width, dims) for _ in range(cells))) for width in widths
        )
        self.reductions = nn.ModuleList(Reduction(width, 2 * width, dims) for width in widths[:-1])
        self.norm = batch_norm(widths[-1], dims)
        self.classifier = nn.Linear(widths[-1], task.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Maps N×channels×spatial to logits, N×classes."""
        x = self.stem_norm(self.stem(channels_last(images)))
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index < len(self.reductions):
                x = self.reductions[index](x)
        x = F.relu(self.norm(x))
        logits: Tensor = self.classifier(x.flatten(2).mean(2))
        return logits
