"""Reference networks of any depth and width: CIFAR's ResNets and wide ResNets.

Legend: tensors are N×C×spatial.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from smash.spaces.layers import batch_norm, convolution, fitting_stride
from smash.spaces.task import Task

STEM_WIDTH = 16
"""Channels of a wide ResNet's stem, and of its first stage at width 1."""


class PreactivationUnit(nn.Module):
    """Two 3×3 convolutions, each after BatchNorm and ReLU, plus a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, dims: int) -> None:
        super().__init__()
        kernel = (3,) * dims
        self.norm_1 = batch_norm(inputs, dims)
        self.conv_1 = convolution(inputs, outputs, kernel, stride=stride)
        self.norm_2 = batch_norm(outputs, dims)
        self.conv_2 = convolution(outputs, outputs, kernel)
        self.shortcut = (
            convolution(inputs, outputs, (1,) * dims, stride=stride)
            if inputs != outputs or stride != 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to N×outputs×(spatial / stride)."""
        active = F.relu(self.norm_1(x))
        # A shortcut that changes the width reads the activated input too, as published.
        across = x if self.shortcut is None else self.shortcut(active)
        y: Tensor = across + self.conv_2(F.relu(self.norm_2(self.conv_1(active))))
        return y


class WideResNet(nn.Module):
    """WRN-D-K (Zagoruyko and Komodakis 2016), without dropout.

    Args:
        depth: D, 6n + 4: three stages of n units.
        width: K, in sixteenths: the stages have 16K, 32K and 64K channels.
        task: The task.
    """

    def __init__(self, depth: int, width: float, task: Task) -> None:
        super().__init__()
        dims, units = task.dims, (depth - 4) // 6
        self.stem = convolution(
            task.channels, STEM_WIDTH, (3,) * dims, stride=fitting_stride(task.size)
        )
        self.units = nn.Sequential()
        inputs = STEM_WIDTH
        for stage in range(3):
            outputs = int(STEM_WIDTH * width) << stage
            for unit in range(units):
                stride = 2 if stage and not unit else 1
                self.units.append(PreactivationUnit(inputs, outputs, stride, dims))
                inputs = outputs
        self.norm = batch_norm(inputs, dims)
        self.classifier = nn.Linear(inputs, task.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Maps N×channels×spatial to logits, N×classes."""
        x = F.relu(self.norm(self.units(self.stem(images))))
        logits: Tensor = self.classifier(x.flatten(2).mean(2))
        return logits


class ResidualUnit(nn.Module):
    """Two 3×3 convolutions with BatchNorm plus a shortcut; ReLU after the first and the sum.

    Where the width changes, the shortcut subsamples the input and pads it with zero channels, so
    it has no parameters.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dims: int) -> None:
        super().__init__()
        kernel = (3,) * dims
        self.conv_1 = convolution(inputs, outputs, kernel, stride=stride)
        self.norm_1 = batch_norm(outputs, dims)
        self.conv_2 = convolution(outputs, outputs, kernel)
        self.norm_2 = batch_norm(outputs, dims)
        self.stride, self.new_channels, self.dims = stride, outputs - inputs, dims

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to N×outputs×(spatial / stride)."""
        change = self.norm_2(self.conv_2(F.relu(self.norm_1(self.conv_1(x)))))
        every = (slice(None), slice(None), *(slice(None, None, self.stride),) * self.dims)
        across = x[every]
        if self.new_channels:
            across = F.pad(across, [0, 0] * self.dims + [0, self.new_channels])
        return F.relu(across + change)


class ResNet(nn.Module):
    """CIFAR's ResNet-D (He, Zhang, Ren and Sun 2016, section 4.2), of any width.

    Args:
        depth: D, 6n + 2: three stages of n units.
        width: Channels of the first stage, 16 as published; each later stage has twice as many.
        task: The task.
    """

    def __init__(self, depth: int, width: int, task: Task) -> None:
        super().__init__()
        dims, units = task.dims, (depth - 2) // 6
        self.stem = convolution(task.channels, width, (3,) * dims, stride=fitting_stride(task.size))
        self.norm = batch_norm(width, dims)
        self.units = nn.Sequential()
        inputs = width
        for stage in range(3):
            outputs = width << stage
            for unit in range(units):
                stride = 2 if stage and not unit else 1
                self.units.append(ResidualUnit(inputs, outputs, stride, dims))
                inputs = outputs
        self.classifier = nn.Linear(inputs, task.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Maps N×channels×spatial to logits, N×classes."""
        x = self.units(F.relu(self.norm(self.stem(images))))
        logits: Tensor = self.classifier(x.flatten(2).mean(2))
        return logits
