"""The child network of a memory-bank architecture.

Legend: tensors are N×C×spatial, with 1, 2 or 3 spatial axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smash.spaces.layers import (
    average_pool,
    batch_norm,
    channels_last,
    convolution,
    fitting_stride,
)
from smash.spaces.memory_bank.architecture import (
    POSITIONS,
    Block,
    Convolution,
    Gate,
    Layout,
    MemoryBankArchitecture,
    Op,
)
from smash.spaces.task import Task

STEM_KERNEL = 7
_NONLINEARITIES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class GridConvolution(nn.Module):
    """A convolution of an op's grid, with its non-linearity and maybe a BatchNorm before it."""

    def __init__(self, inputs: int, outputs: int, setting: Convolution, layout: Layout) -> None:
        super().__init__()
        self.preactivation = layout.preactivation
        self.nonlinearity = _NONLINEARITIES[setting.nonlinearity]
        self.norm = batch_norm(inputs, len(setting.kernel)) if layout.op_norm else None
        self.conv = convolution(
            inputs,
            outputs,
            setting.kernel,
            dilation=setting.dilation,
            groups=setting.groups,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to N×outputs×spatial."""
        if self.norm is not None:
            x = self.norm(x)
        if self.preactivation:
            y: Tensor = self.conv(self.nonlinearity(x))
            return y
        return self.nonlinearity(self.conv(x))


class MemoryOp(nn.Module):
    """Reads banks, then a 1×1 convolution, then the grid: path A and path B, added or gated."""

    def __init__(self, op: Op, bank_channels: int, layout: Layout, dims: int) -> None:
        super().__init__()
        read = len(op.reads) * bank_channels
        outputs = op.outputs * layout.bank_width
        second = op.second_outputs * layout.bank_width
        width = layout.project_width(read, outputs)
        self.gate = op.gate
        self.norm = batch_norm(read, dims) if layout.normalised else None
        self.project = convolution(read, width, (1,) * dims)
        self.project_norm = (
            batch_norm(width, dims) if layout.normalised and not layout.op_norm else None
        )
        self.a1: nn.Module
        self.a2: nn.Module | None
        self.b1: nn.Module | None
        self.b2: nn.Module | None
        for position, setting in zip(POSITIONS, op.grid, strict=True):
            channels = (width, outputs) if position.endswith("1") else (second, second)
            setattr(self, position, setting and GridConvolution(*channels, setting, layout))

    def forward(self, x: Tensor) -> Tensor:
        """Maps the read banks, N×read×spatial, to N×written×spatial."""
        if self.norm is not None:
            x = F.relu(self.norm(x))
        x = self.project(x)
        if self.norm is None:
            x = F.relu(x)
        if self.project_norm is not None:
            x = self.project_norm(x)
        a: Tensor = self.a1(x)
        b: Tensor | None = None if self.b1 is None else self.b1(x)
        if b is not None and self.gate is not None and self.gate.junction == "first":
            a = join_paths(a, b, self.gate)
            b = None if self.b2 is None else a  # one path, which both second convolutions read
        if self.a2 is not None:
            a = self.a2(a)
        if b is None:
            return a
        if self.b2 is not None:
            b = self.b2(b)
        if self.gate is not None and self.gate.junction == "second":
            return join_paths(a, b, self.gate)
        return a + b


def join_paths(a: Tensor, b: Tensor, gate: Gate) -> Tensor:
    """Gates one path by the other: N×C×spatial, or N×(C / 2)×spatial if the gate splits."""
    if gate.style == "split":
        both = a + b
        a, b = both[:, 0::2], both[:, 1::2]
    return torch.tanh(a) * torch.sigmoid(b)


class MemoryBlock(nn.Module):
    """Banks at one resolution, and the ops that read and write them."""

    def __init__(self, block: Block, layout: Layout, dims: int) -> None:
        super().__init__()
        self.bank_channels = block.bank_size * layout.bank_width
        self.ops = nn.ModuleList(MemoryOp(op, self.bank_channels, layout, dims) for op in block.ops)
        self.reads = [op.reads for op in block.ops]
        self.writes = [op.writes for op in block.ops]

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to all filled banks, N×(banks · bank_channels)×spatial."""
        banks = self._banks(x)
        for op, reads, writes in zip(self.ops, self.reads, self.writes, strict=True):
            output = op(torch.cat([banks[bank] for bank in reads], dim=1))
            parts = self._banks(output)
            for number, bank in enumerate(writes):
                part = parts[number % len(parts)]
                if bank < len(banks):
                    banks[bank] = banks[bank] + part
                else:
                    banks.append(part)
        return torch.cat(banks, dim=1)

    def _banks(self, x: Tensor) -> list[Tensor]:
        """Splits channels into banks; one bank is no split, which a converter may not know."""
        return [x] if x.shape[1] == self.bank_channels else list(x.split(self.bank_channels, dim=1))


class Transition(nn.Module):
    """BatchNorm, ReLU, 1×1 convolution and 2× average pooling."""

    def __init__(self, inputs: int, outputs: int, dims: int) -> None:
        super().__init__()
        self.norm = batch_norm(inputs, dims)
        self.conv = convolution(inputs, outputs, (1,) * dims)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to N×outputs×(spatial / 2)."""
        return average_pool(self.conv(F.relu(self.norm(x))), 2)


class MemoryBankNetwork(nn.Module):
    """Stem, three blocks with a transition after the first two, and a head."""

    def __init__(self, architecture: MemoryBankArchitecture, layout: Layout, task: Task) -> None:
        super().__init__()
        dims, inputs = task.dims, layout.inputs
        stride = fitting_stride(task.size) if layout.stem_stride is None else layout.stem_stride
        self.stem = convolution(task.channels, inputs[0], (STEM_KERNEL,) * dims, stride=stride)
        self.blocks = nn.ModuleList(
            MemoryBlock(block, layout, dims) for block in architecture.blocks
        )
        widths = [
            block.filled(layout.input_banks(index, block.bank_size))
            * block.bank_size
            * layout.bank_width
            for index, block in enumerate(architecture.blocks)
        ]
        self.transitions = nn.ModuleList(
            Transition(widths[index], inputs[index + 1], dims) for index in range(2)
        )
        self.norm = batch_norm(widths[2], dims)
        self.classifier = nn.Linear(widths[2], task.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Maps N×channels×spatial to logits, N×classes."""
        x = self.stem(channels_last(images))
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index < 2:
                x = self.transitions[index](x)
        x = F.relu(self.norm(x))
        logits: Tensor = self.classifier(x.flatten(2).mean(2))
        return logits
