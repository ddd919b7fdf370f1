"""The child network of a cell: a stem, three stages of cells, reductions between them, a head.

Channels double and extents halve from stage to stage. (Dong and Yang 2020, section 2.1; layers in
the order of the published networks, so that parameters and MACs are theirs.)

Legend: tensors are N×C×spatial, with 1, 2 or 3 spatial axes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smash.spaces.base import Task
from smash.spaces.layers import (
    Linear,
    Part,
    average_near,
    average_pool,
    batch_norm,
    channels_last,
    convolution,
    fitting_stride,
)
from smash.spaces.nas_bench_201.architecture import (
    CONVOLUTIONS,
    NODES,
    CellArchitecture,
    NasBench201Options,
)

_STAGES = 3
_POOL_EXTENT = 3


class ReluConvNorm(Part):
    """ReLU, convolution, BatchNorm."""

    def __init__(
        self, inputs: int, outputs: int, extent: int, dims: int, device: str, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = convolution(inputs, outputs, (extent,) * dims, stride=stride, device=device)
        self.norm = batch_norm(outputs, dims, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to N×outputs×(spatial / stride)."""
        return self.norm(self.conv(F.relu(x)))  # type: ignore[no-any-return]


class Cell(Part):
    """The nodes of a cell, one after the other.

    A convolution is named after its operation and its edge, so that what children share is told
    apart by both. Edges that the output does not depend on are computed too, as published.
    """

    def __init__(
        self, architecture: CellArchitecture, channels: int, dims: int, device: str
    ) -> None:
        super().__init__()
        self.edges = [edge for edge in architecture.edges() if edge[2] != "none"]
        for source, target, operation in self.edges:
            if operation in CONVOLUTIONS:
                layer = ReluConvNorm(channels, channels, CONVOLUTIONS[operation], dims, device)
                self.add_module(_layer_name(source, target, operation), layer)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×channels×spatial to the same."""
        nodes: list[Tensor | None] = [x, *[None] * (NODES - 1)]
        for source, target, operation in self.edges:
            value = nodes[source]
            value = torch.zeros_like(x) if value is None else value
            if operation in CONVOLUTIONS:
                value = self.get_submodule(_layer_name(source, target, operation))(value)
            elif operation == "avg_pool_3x3":
                value = average_near(value, _POOL_EXTENT)
            before = nodes[target]
            nodes[target] = value if before is None else before + value
        output = nodes[-1]
        return torch.zeros_like(x) if output is None else output


def _layer_name(source: int, target: int, operation: str) -> str:
    return f"{operation}_{source}_{target}"


class Reduction(Part):
    """A residual block that halves the extents: two 3×3 convolutions, and a pooled shortcut."""

    def __init__(self, inputs: int, outputs: int, dims: int, device: str) -> None:
        super().__init__()
        self.first = ReluConvNorm(inputs, outputs, 3, dims, device, stride=2)
        self.second = ReluConvNorm(outputs, outputs, 3, dims, device)
        self.shortcut = convolution(inputs, outputs, (1,) * dims, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to N×outputs×(spatial / 2), odd extents rounded up."""
        # ceil: the convolution rounds odd extents up, and so must the shortcut.
        shortcut = self.shortcut(average_pool(x, 2, ceil=True))
        return shortcut + self.second(self.first(x))  # type: ignore[no-any-return]


class CellNetwork(Part):
    """Stem, stages and head around copies of one cell, each with its own weights."""

    def __init__(
        self,
        architecture: CellArchitecture,
        options: NasBench201Options,
        task: Task,
        device: str,
    ) -> None:
        super().__init__()
        dims = task.dims
        widths = [options.channels << stage for stage in range(_STAGES)]
        given = options.stem_stride
        stride = fitting_stride(task.size) if given is None else (given,) * dims
        self.stem = convolution(task.channels, widths[0], (3,) * dims, stride=stride, device=device)
        self.stem_norm = batch_norm(widths[0], dims, device=device)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Cell(architecture, width, dims, device) for _ in range(options.cells)))
            for width in widths
        )
        self.reductions = nn.ModuleList(
            Reduction(width, 2 * width, dims, device) for width in widths[:-1]
        )
        self.norm = batch_norm(widths[-1], dims, device=device)
        self.classifier = Linear(widths[-1], task.classes, device=device)

    def forward(self, images: Tensor) -> Tensor:
        """Maps N×channels×spatial to logits, N×classes."""
        x = self.stem_norm(self.stem(channels_last(images)))
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index < len(self.reductions):
                x = self.reductions[index](x)
        x = F.relu(self.norm(x))
        return self.classifier(x.flatten(2).mean(2))  # type: ignore[no-any-return]
