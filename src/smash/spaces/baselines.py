"""Plain reference networks, to compare a child with: trained by the same program on the same data.

Wide ResNets, and the narrow ResNets that were made for CIFAR, are written here, for signals, images
and volumes: they come in all sizes. The others are torchvision's, for images, changed for small
ones as is usual: a 3×3 stem without the max-pool after it, whose stride brings large images down to
32² as our own networks do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smash.errors import InvalidValueError, unknown
from smash.spaces.base import Task
from smash.spaces.layers import Linear, batch_norm, convolution, count_parameters, fitting_stride

ALIASES = {
    "densenet": "densenet121",
    "resnet": "resnet18",
    "vgg": "vgg16_bn",
    "wrn": "wrn-40-4",  # the network that the published budget is taken from
}
"""What a bare name of a family stands for."""

FITTED = ("resnet", "wrn")
"""Families of which `fit_baseline` finds the member of a size."""

_FAMILIES = ("densenet", "resnet", "resnext", "vgg", "wide_resnet")
_WRN = r"wrn-?(\d{1,6})-(\d{1,6}(?:\.\d{1,4})?)"
_STEM_WIDTH = 16
_FITTED_DEPTH = 20


def make_baseline(name: str, task: Task, device: str = "meta") -> nn.Module:
    """Builds a reference network; its convolutions and linear layers are still to be initialised.

    Args:
        name: ``wrn-D-K``, a wide ResNet of depth D and width K, such as ``wrn-16-2``, or narrow as
            ``wrn-10-0.5``; ``resnet-D-W``, CIFAR's ResNet of depth D whose stages have W, 2W and 4W
            channels (published with W = 16); a ResNet, DenseNet or VGG as torchvision names it,
            such as ``resnet18``; or one of `ALIASES`.
        task: What it is for.
        device: Where its parameters are.

    Returns:
        A module that maps N×channels×spatial to logits, N×classes.

    Raises:
        InvalidValueError: The name is not known, or such a network is for images only.
    """
    name = full_name(name)
    if found := re.fullmatch(_WRN, name):
        return WideResNet(int(found[1]), float(found[2]), task, device)
    if found := re.fullmatch(r"resnet-(\d+)-(\d+)", name):
        depth, width = map(int, found.groups())
        return ResNet(depth, width, task, device)
    if task.dims != 2:
        raise InvalidValueError(
            f"baseline {name!r} is for images, got data with {task.dims} spatial axes: "
            "take a wide ResNet, such as wrn-16-2"
        )
    return _of_torchvision(name, task, device)


def fit_baseline(family: str, params: int, task: Task) -> str:
    """Names the member of a family whose number of parameters is nearest, in ratio.

    Args:
        family: ``resnet``, of depth 20 and any width, or ``wrn``, of any depth and width; below
            the smallest published kind, WRN-10-1, of depth 10 and narrower.
        params: Parameters to come near to.
        task: What it is for.
    """
    nearest, least = "", math.inf
    for name in _members(family):
        found = count_parameters(make_baseline(name, task))
        difference = abs(math.log(found / params))
        if difference < least:
            nearest, least = name, difference
        elif found > params and not name.startswith("wrn"):
            break  # members go up in size
    return nearest


def _members(family: str) -> Iterator[str]:
    if family == "resnet":
        yield from (f"resnet-{_FITTED_DEPTH}-{width}" for width in range(1, 1025))
    else:
        yield from (f"wrn-10-{channels / _STEM_WIDTH}" for channels in range(1, _STEM_WIDTH))
        yield from (f"wrn-{depth}-{width}" for depth in range(10, 41, 6) for width in range(1, 13))


def full_name(name: str) -> str:
    """The one name of a network: in lower case, in torchvision's spelling, a family filled in.

    Raises:
        InvalidValueError: There is no such network.
    """
    asked, name = name, name.lower()
    name = ALIASES.get(name, name)
    if found := re.fullmatch(_WRN, name):
        depth, width = int(found[1]), float(found[2])
        if depth < 10 or (depth - 4) % 6 or not width or _STEM_WIDTH * width % 1:
            raise InvalidValueError(
                f"baseline {asked!r}: a wide ResNet's depth must be 6n + 4, such as 16, 28 or 40, "
                "and its width a whole number, or sixteenths such as 0.5: try wrn-16-2"
            )
        return f"wrn-{depth}-{int(width) if width.is_integer() else width}"
    if found := re.fullmatch(r"resnet-?(\d+)-(\d+)", name):
        depth, width = map(int, found.groups())
        if depth < 8 or (depth - 2) % 6 or not width:
            raise InvalidValueError(
                f"baseline {asked!r}: a ResNet's depth must be 6n + 2, such as 20, 32 or 56, and "
                "its width at least 1: try resnet-20-16"
            )
        return f"resnet-{depth}-{width}"
    spellings = {known.replace("_", ""): known for known in _torchvision_names()}
    plain = re.sub(r"[-_]", "", name)
    if plain not in spellings:
        known = [*ALIASES, *spellings.values(), "wrn-16-2", "resnet-20-16"]
        raise InvalidValueError(unknown("baseline", asked, known))
    return spellings[plain]


def _torchvision_names() -> list[str]:
    from torchvision import models  # slow to import

    return [name for name in models.list_models(models) if name.startswith(_FAMILIES)]


class _WideUnit(nn.Module):
    """Two 3×3 convolutions, each after BatchNorm and ReLU, added to what comes in."""

    def __init__(self, inputs: int, outputs: int, stride: int, dims: int, device: str) -> None:
        super().__init__()
        kernel = (3,) * dims
        self.norm_1 = batch_norm(inputs, dims, device=device)
        self.conv_1 = convolution(inputs, outputs, kernel, stride=stride, device=device)
        self.norm_2 = batch_norm(outputs, dims, device=device)
        self.conv_2 = convolution(outputs, outputs, kernel, device=device)
        self.shortcut = (
            convolution(inputs, outputs, (1,) * dims, stride=stride, device=device)
            if inputs != outputs or stride != 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to N×outputs×(spatial / stride)."""
        active = F.relu(self.norm_1(x))
        # Where the width changes, the shortcut too reads what was activated.
        across = x if self.shortcut is None else self.shortcut(active)
        return across + self.conv_2(F.relu(self.norm_2(self.conv_1(active))))  # type: ignore[no-any-return]


class WideResNet(nn.Module):
    """WRN-D-K (Zagoruyko and Komodakis 2016), without dropout.

    Args:
        depth: D, 6n + 4: three stages of n units.
        width: K, in sixteenths: the stages have 16K, 32K and 64K channels.
        task: What it is for.
        device: Where its parameters are.
    """

    def __init__(self, depth: int, width: float, task: Task, device: str) -> None:
        super().__init__()
        dims, units = task.dims, (depth - 4) // 6
        self.stem = convolution(
            task.channels, _STEM_WIDTH, (3,) * dims, stride=fitting_stride(task.size), device=device
        )
        self.units = nn.Sequential()
        inputs = _STEM_WIDTH
        for stage in range(3):
            outputs = int(_STEM_WIDTH * width) << stage
            for unit in range(units):
                stride = 2 if stage and not unit else 1
                self.units.append(_WideUnit(inputs, outputs, stride, dims, device))
                inputs = outputs
        self.norm = batch_norm(inputs, dims, device=device)
        self.classifier = Linear(inputs, task.classes, device=device)

    def forward(self, images: Tensor) -> Tensor:
        """Maps N×channels×spatial to logits, N×classes."""
        x = F.relu(self.norm(self.units(self.stem(images))))
        return self.classifier(x.flatten(2).mean(2))  # type: ignore[no-any-return]


class _Unit(nn.Module):
    """Two 3×3 convolutions with BatchNorm, added to what comes in; ReLU after the first and last.

    Where the width changes the shortcut is what comes in at every other place, and zeros for the
    new channels: it has no parameters.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dims: int, device: str) -> None:
        super().__init__()
        kernel = (3,) * dims
        self.conv_1 = convolution(inputs, outputs, kernel, stride=stride, device=device)
        self.norm_1 = batch_norm(outputs, dims, device=device)
        self.conv_2 = convolution(outputs, outputs, kernel, device=device)
        self.norm_2 = batch_norm(outputs, dims, device=device)
        self._stride, self._new, self._dims = stride, outputs - inputs, dims

    def forward(self, x: Tensor) -> Tensor:
        """Maps N×inputs×spatial to N×outputs×(spatial / stride)."""
        change = self.norm_2(self.conv_2(F.relu(self.norm_1(self.conv_1(x)))))
        every = (slice(None), slice(None), *(slice(None, None, self._stride),) * self._dims)
        across = x[every]
        if self._new:
            across = F.pad(across, [0, 0] * self._dims + [0, self._new])
        return F.relu(across + change)


class ResNet(nn.Module):
    """CIFAR's ResNet-D (He, Zhang, Ren and Sun 2016, section 4.2), of any width.

    Args:
        depth: D, 6n + 2: three stages of n units.
        width: Channels of the first stage, 16 as published; the others have twice as many each.
        task: What it is for.
        device: Where its parameters are.
    """

    def __init__(self, depth: int, width: int, task: Task, device: str) -> None:
        super().__init__()
        dims, units = task.dims, (depth - 2) // 6
        self.stem = convolution(
            task.channels, width, (3,) * dims, stride=fitting_stride(task.size), device=device
        )
        self.norm = batch_norm(width, dims, device=device)
        self.units = nn.Sequential()
        inputs = width
        for stage in range(3):
            outputs = width << stage
            for unit in range(units):
                stride = 2 if stage and not unit else 1
                self.units.append(_Unit(inputs, outputs, stride, dims, device))
                inputs = outputs
        self.classifier = Linear(inputs, task.classes, device=device)

    def forward(self, images: Tensor) -> Tensor:
        """Maps N×channels×spatial to logits, N×classes."""
        x = self.units(F.relu(self.norm(self.stem(images))))
        return self.classifier(x.flatten(2).mean(2))  # type: ignore[no-any-return]


def _of_torchvision(name: str, task: Task, device: str) -> nn.Module:
    """One of torchvision's networks, for small images."""
    from torchvision import models

    with torch.device("meta"):  # so that it draws nothing
        network: Any = models.get_model(name, weights=None, num_classes=task.classes)
        if name.startswith("vgg"):
            _shrink_vgg(network, task)
        elif name.startswith("densenet"):
            network.features.conv0 = _stem(task, network.features.conv0.out_channels)
            network.features.pool0 = nn.Identity()
        else:
            network.conv1 = _stem(task, network.conv1.out_channels)
            network.maxpool = nn.Identity()
    if device != "meta":
        network = network.to_empty(device=device)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()  # draws nothing either
    return network  # type: ignore[no-any-return]


def _stem(task: Task, width: int, *, bias: bool = False) -> nn.Conv2d:
    stride: Any = fitting_stride(task.size)
    return nn.Conv2d(task.channels, width, 3, stride=stride, padding=1, bias=bias)


def _shrink_vgg(network: Any, task: Task) -> None:
    """As many max-pools as the image bears, and one linear layer in place of three.

    The published ones have 120 million parameters, made for features of 7×7.
    """
    layers = network.features
    layers[0] = _stem(task, layers[0].out_channels, bias=True)
    stride = fitting_stride(task.size)
    extents = (-(-extent // by) for extent, by in zip(task.size, stride, strict=True))
    borne = int(math.log2(min(extents)))
    pools = [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    for index in pools[borne:]:
        layers[index] = nn.Identity()
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.classifier = nn.Linear(512, task.classes)
