"""The child network of a memory-bank architecture: one plain module, for scoring and shipping.

Legend: tensors are N×C×spatial, with 1, 2 or 3 spatial axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smash.spaces.base import Shape, Task
from smash.spaces.layers import (
    Linear,
    Part,
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
    MemoryBankArchitecture,
    Op,
)
from smash.spaces.memory_bank.options import MemoryBankOptions

_NONLINEARITIES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
_STEM_KERNEL = 7


class GridConvolution(Part):
    """A convolution of an op's grid, with its non-linearity and maybe a BatchNorm before it."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        conv: Convolution,
        options: MemoryBankOptions,
        device: str,
    ) -> None:
        super().__init__()
        self.preactivation = options.preactivation
        self.nonlinearity = _NONLINEARITIES[conv.nonlinearity]
        self.norm = batch_norm(inputs, options.dims, device=device) if options.op_norm else None
        self.conv = convolution(
            inputs,
            outputs,
            conv.kernel,
            dilation=conv.dilation,
            groups=conv.groups,
            device=device,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to N×outputs×spatial."""
        if self.norm is not None:
            x = self.norm(x)
        if self.preactivation:
            return self.conv(self.nonlinearity(x))  # type: ignore[no-any-return]
        return self.nonlinearity(self.conv(x))


class MemoryOp(Part):
    """Reads banks, then a 1×1 convolution, then the grid: path A and path B, added or gated."""

    def __init__(self, block: Block, op: Op, options: MemoryBankOptions, device: str) -> None:
        super().__init__()
        read = len(op.reads) * block.bank_size * options.bank_width
        outputs = op.outputs * options.bank_width
        width = options.project_width(read, outputs)
        normalised = options.normalisation == "batch"
        self.reads, self.writes, self.gate = op.reads, op.writes, op.gate
        self.a1: nn.Module
        self.a2: nn.Module | None
        self.b1: nn.Module | None
        self.b2: nn.Module | None
        self.norm = batch_norm(read, options.dims, device=device) if normalised else None
        self.project = convolution(read, width, (1,) * options.dims, device=device)
        self.project_norm = (
            batch_norm(width, options.dims, device=device)
            if normalised and not options.op_norm
            else None
        )
        second = op.second_outputs * options.bank_width
        for index, (position, conv) in enumerate(zip(POSITIONS, op.grid, strict=True)):
            channels = (width, outputs) if index % 2 == 0 else (second, second)
            setattr(self, position, conv and GridConvolution(*channels, conv, options, device))

    def forward(self, x: Tensor) -> Tensor:
        """Maps the read banks, N×read×spatial, to N×written×spatial."""
        if self.norm is not None:
            x = F.relu(self.norm(x))
        x = self.project(x)
        if self.norm is None:
            x = F.relu(x)
        if self.project_norm is not None:
            x = self.project_norm(x)
        a = self.a1(x)
        b = None if self.b1 is None else self.b1(x)
        if b is not None and self.gate is not None and self.gate.junction == "first":
            a = _join(a, b, self.gate)
            b = None if self.b2 is None else a  # one path, which both second convolutions read
        if self.a2 is not None:
            a = self.a2(a)
        if b is None:
            return a  # type: ignore[no-any-return]
        if self.b2 is not None:
            b = self.b2(b)
        if self.gate is not None and self.gate.junction == "second":
            return _join(a, b, self.gate)
        return a + b  # type: ignore[no-any-return]


def _join(a: Tensor, b: Tensor, gate: Gate) -> Tensor:
    """Lets one part of two paths gate the other: N×C×spatial, or N×(C / 2)×spatial if it splits."""
    if gate.style == "split":
        joined = a + b
        a, b = joined[:, 0::2], joined[:, 1::2]
    return torch.tanh(a) * torch.sigmoid(b)


class MemoryBlock(Part):
    """Banks at one resolution, and the ops that read and write them."""

    def __init__(self, block: Block, options: MemoryBankOptions, device: str) -> None:
        super().__init__()
        self.bank_channels = block.bank_size * options.bank_width
        self.ops: list[MemoryOp] = nn.ModuleList(  # type: ignore[assignment] # iterates as one
            MemoryOp(block, op, options, device) for op in block.ops
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to all filled banks, N×(banks · bank_channels)×spatial."""
        banks = list(x.split(self.bank_channels, dim=1))
        for op in self.ops:
            output = op(torch.cat([banks[bank] for bank in op.reads], dim=1))
            parts = output.split(self.bank_channels, dim=1)
            for number, bank in enumerate(op.writes):
                part = parts[number % len(parts)]
                if bank < len(banks):
                    banks[bank] = banks[bank] + part
                else:
                    banks.append(part)
        return torch.cat(banks, dim=1)


class Transition(Part):
    """BatchNorm, ReLU, 1×1 convolution and 2× average pooling."""

    def __init__(self, inputs: int, outputs: int, dims: int, device: str) -> None:
        super().__init__()
        self.norm = batch_norm(inputs, dims, device=device)
        self.conv = convolution(inputs, outputs, (1,) * dims, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to N×outputs×(spatial / 2)."""
        return average_pool(self.conv(F.relu(self.norm(x))), 2)


class MemoryBankNetwork(Part):
    """Stem, three blocks with a transition after the first two, and a head."""

    def __init__(
        self,
        architecture: MemoryBankArchitecture,
        options: MemoryBankOptions,
        task: Task,
        device: str,
    ) -> None:
        super().__init__()
        budgets, dims = options.budgets, options.dims
        self.stem = convolution(
            task.channels,
            budgets[0].inputs,
            (_STEM_KERNEL,) * dims,
            stride=stem_stride(options, task),
            device=device,
        )
        self.blocks = nn.ModuleList(
            MemoryBlock(block, options, device) for block in architecture.blocks
        )
        widths = [
            block.filled(options.input_banks(index, block.bank_size))
            * block.bank_size
            * options.bank_width
            for index, block in enumerate(architecture.blocks)
        ]
        self.transitions = nn.ModuleList(
            Transition(widths[index], budgets[index + 1].inputs, dims, device) for index in range(2)
        )
        self.norm = batch_norm(widths[2], dims, device=device)
        self.classifier = Linear(widths[2], task.classes, device=device)

    def forward(self, images: Tensor) -> Tensor:
        """Maps N×channels×spatial to logits, N×classes."""
        x = self.stem(channels_last(images))
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index < 2:
                x = self.transitions[index](x)
        x = F.relu(self.norm(x))
        return self.classifier(x.flatten(2).mean(2))  # type: ignore[no-any-return]


def stem_stride(options: MemoryBankOptions, task: Task) -> tuple[int, ...]:
    """Stride of the stem, an axis each: as asked, or such that the first block's extent fits."""
    if options.stem_stride is not None:
        return (options.stem_stride,) * options.dims
    return fitting_stride(task.size)


def shared_shapes(options: MemoryBankOptions, task: Task) -> dict[str, Shape]:
    """Shapes of the tensors that children share: a set a block, for all its ops."""
    ones, kernel = (1,) * options.dims, (options.max_kernel,) * options.dims
    budgets, widest = options.budgets, options.max_project
    shapes: dict[str, Shape] = {
        "stem.weight": (budgets[0].inputs, task.channels, *(_STEM_KERNEL,) * options.dims)
    }
    for index, budget in enumerate(budgets):
        block = f"blocks.{index}"
        shapes[f"{block}.project.weight"] = (widest, budget.width, *ones)
        for position in POSITIONS:
            inputs = widest if position.endswith("1") else options.max_width
            shapes[f"{block}.{position}.conv.weight"] = (options.max_width, inputs, *kernel)
            if options.op_norm:
                shapes |= _norm(f"{block}.{position}.norm", inputs)
        if options.normalisation == "batch":
            shapes |= _norm(f"{block}.norm", budget.width)
            if not options.op_norm:
                shapes |= _norm(f"{block}.project_norm", widest)
        if index < 2:
            shapes |= _norm(f"transitions.{index}.norm", budget.width)
            shapes[f"transitions.{index}.conv.weight"] = (
                budgets[index + 1].inputs,
                budget.width,
                *ones,
            )
    shapes |= _norm("norm", budgets[2].width)
    shapes["classifier.weight"] = (task.classes, budgets[2].width)
    shapes["classifier.bias"] = (task.classes,)
    return shapes


def _norm(name: str, channels: int) -> dict[str, Shape]:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}
