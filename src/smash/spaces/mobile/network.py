"""Child networks for devices: stages of residual, fused, inverted and separable blocks.

Every convolution is followed by its BatchNorm and its activation, so that all of it folds into
integer kernels. Signals, images and volumes share one definition.

This module, its options and `smash.spaces.layers` need torch alone, so that they stand in exported
files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from smash.spaces.layers import CONVOLUTIONS, NORMS, fitting_stride
from smash.spaces.mobile.options import MobileOptions

_ACTIVATIONS: dict[str, Any] = {"relu": nn.ReLU, "hard-swish": nn.Hardswish, "none": nn.Identity}


class ConvNormAct(nn.Module):
    """A convolution without bias, its BatchNorm and its activation.

    Args:
        dims: Spatial axes: 1, 2 or 3.
        channels: Channels in and out.
        kernel: Odd extent of the kernel along each axis.
        stride: Stride along each axis.
        groups: Groups of channels.
        activation: ``relu``, ``hard-swish`` or ``none``.
    """

    def __init__(
        self,
        dims: int,
        channels: tuple[int, int],
        kernel: int = 1,
        stride: int | tuple[int, ...] = 1,
        groups: int = 1,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.conv = CONVOLUTIONS[dims](
            *channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.norm = NORMS[dims](channels[1])
        self.act = _ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×in×spatial to N×out×spatial ÷ stride."""
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y


class SqueezeExcite(nn.Module):
    """Scales channels by what their means say (Hu et al. 2018), with hard-sigmoid gates."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        inner = max(4, channels // 4)
        self.squeeze = CONVOLUTIONS[dims](channels, inner, 1)
        self.excite = CONVOLUTIONS[dims](inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape, N×C×spatial."""
        means = x.mean(tuple(range(2, x.ndim)), keepdim=True)
        return x * nn.functional.hardsigmoid(self.excite(torch.relu(self.squeeze(means))))


@dataclass(frozen=True)
class BlockShape:
    """Settings of one block.

    Attributes:
        kind: ``residual``, ``fused``, ``inverted`` or ``separable``.
        channels: Channels in and out.
        kernel: Extent of its kernels.
        stride: Stride of the block.
        expansion: Inner channels of fused and inverted blocks ÷ channels in.
        squeeze: Whether channels are scaled by squeeze and excite.
        activation: Name of the activation.
    """

    kind: str
    channels: tuple[int, int]
    kernel: int
    stride: int
    expansion: int
    squeeze: bool
    activation: str


class Block(nn.Module):
    """A block: convolutions of its kind, and the input added where the shape is kept.

    - residual: k×k, k×k (He et al. 2016); its shortcut is a 1×1 convolution where shapes differ
    - fused: expanding k×k, projecting 1×1 (Gupta & Tan 2019)
    - inverted: expanding 1×1, depthwise k×k, projecting 1×1 (Sandler et al. 2018)
    - separable: depthwise k×k, 1×1 (Howard et al. 2017)
    """

    def __init__(self, dims: int, shape: BlockShape) -> None:
        super().__init__()
        inputs, outputs = shape.channels
        kernel, act = shape.kernel, shape.activation
        inner = inputs * shape.expansion
        self.body = nn.Sequential()

        def add(name: str, channels: tuple[int, int], extent: int = 1, **more: Any) -> None:
            self.body.add_module(name, ConvNormAct(dims, channels, extent, **more))

        if shape.kind == "residual":
            add("first", (inputs, outputs), kernel, stride=shape.stride, activation=act)
            if shape.squeeze:
                self.body.add_module("excite_outputs", SqueezeExcite(dims, outputs))
            add("second", (outputs, outputs), kernel, activation="none")
        elif shape.kind == "fused":
            add("expand", (inputs, inner), kernel, stride=shape.stride, activation=act)
            if shape.squeeze:
                self.body.add_module("excite_inner", SqueezeExcite(dims, inner))
            add("project", (inner, outputs), activation="none")
        elif shape.kind == "inverted":
            if shape.expansion > 1:
                add("widen", (inputs, inner), activation=act)
            more: dict[str, Any] = {"stride": shape.stride, "groups": inner, "activation": act}
            add("depthwise", (inner, inner), kernel, **more)
            if shape.squeeze:
                self.body.add_module("excite_depthwise", SqueezeExcite(dims, inner))
            add("narrow", (inner, outputs), activation="none")
        else:
            more = {"stride": shape.stride, "groups": inputs, "activation": act}
            add("filter", (inputs, inputs), kernel, **more)
            if shape.squeeze:
                self.body.add_module("excite_inputs", SqueezeExcite(dims, inputs))
            add("mix", (inputs, outputs), activation=act)
        self.residual = inputs == outputs and shape.stride == 1
        self.shortcut: nn.Module | None = None
        if shape.kind == "residual" and not self.residual:
            more = {"stride": shape.stride, "activation": "none"}
            self.shortcut = ConvNormAct(dims, shape.channels, **more)
        self.after = _ACTIVATIONS[act if shape.kind == "residual" else "none"]()

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×in×spatial to N×out×spatial ÷ stride."""
        y: Tensor = self.body(x)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        elif self.residual:
            y = y + x
        out: Tensor = self.after(y)
        return out


class Head(nn.Module):
    """An optional 1×1 convolution, the mean over places, and a classifier."""

    def __init__(self, dims: int, inputs: int, width: int, classes: int, activation: str) -> None:
        super().__init__()
        self.widen = ConvNormAct(dims, (inputs, width), activation=activation) if width else None
        self.classifier = nn.Linear(width or inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×C×spatial to logits, N×classes."""
        x = x if self.widen is None else self.widen(x)
        logits: Tensor = self.classifier(x.mean(tuple(range(2, x.ndim))))
        return logits


@dataclass(frozen=True, kw_only=True)
class MobileNetwork(MobileOptions):
    """The network function of the space: ``network(choose, task)`` builds a child."""

    def __call__(self, choose: Any, task: Any) -> nn.Module:
        """Builds the child of the choices.

        Args:
            choose: Chooses among options by name, see `smash.spaces.choices`.
            task: Channels and size of the inputs, and the number of classes.
        """
        dims, child = len(task.size), nn.Sequential()
        act = choose("activation", self.activations)
        inputs = choose("stem", self.stem)
        stride = self.stem_stride or fitting_stride(task.size, dict(self.extent))
        child.add_module(
            "stem", ConvNormAct(dims, (task.channels, inputs), 3, stride=stride, activation=act)
        )
        for stage, (widths, first) in enumerate(zip(self.widths, self.strides, strict=True)):
            width = choose(f"width {stage}", widths)
            for number in range(choose(f"depth {stage}", self.depths)):
                shape = self._block(choose, dims, f"{stage}.{number}", (inputs, width), act)
                shape = shape if number else BlockShape(**{**vars(shape), "stride": first})
                child.add_module(f"{shape.kind}-{stage}-{number}", Block(dims, shape))
                inputs = width
        head = choose("head", self.heads)
        child.add_module("head", Head(dims, inputs, head, task.classes, act))
        return child

    def _block(
        self, choose: Any, dims: int, name: str, channels: tuple[int, int], act: str
    ) -> BlockShape:
        kind = choose(f"kind {name}", self.kinds)
        expands = kind in ("fused", "inverted")
        return BlockShape(
            kind=kind,
            channels=channels,
            kernel=choose(f"kernel {name}", self.signal_kernels if dims == 1 else self.kernels),
            stride=1,
            expansion=choose(f"expansion {name}", self.expansions) if expands else 1,
            squeeze=self.squeeze and choose(f"squeeze {name}", (False, True)),
            activation=act,
        )


def build_mobile(options: MobileNetwork, choose: Any, task: Any) -> nn.Module:
    """Builds the child of the choices, as ``options(choose, task)`` does."""
    return options(choose, task)
