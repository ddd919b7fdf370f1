"""Plain reference networks, to compare a child with: trained by the same program on the same data.

Wide ResNets are written here, for signals, images and volumes. The others are torchvision's, for
images, changed for small ones as is usual: a 3×3 stem without the max-pool after it, whose stride
brings large images down to 32² as our own networks do.
"""

from __future__ import annotations

import math
import re
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smash.errors import InvalidValueError, unknown
from smash.spaces.base import Task
from smash.spaces.layers import Linear, batch_norm, convolution, fitting_stride

ALIASES = {
    "densenet": "densenet121",
    "resnet": "resnet18",
    "vgg": "vgg16_bn",
    "wrn": "wrn-40-4",  # the network that the published budget is taken from
}
"""What a bare name of a family stands for."""

_FAMILIES = ("densenet", "resnet", "resnext", "vgg", "wide_resnet")
_STEM_WIDTH = 16


def make_baseline(name: str, task: Task, device: str = "meta") -> nn.Module:
    """Builds a reference network; its convolutions and linear layers are still to be initialised.

    Args:
        name: ``wrn-D-K``, a wide ResNet of depth D and width K; a ResNet, DenseNet or VGG as
            torchvision names it, such as ``resnet18``; or one of `ALIASES`.
        task: What it is for.
        device: Where its parameters are.

    Returns:
        A module that maps N×channels×spatial to logits, N×classes.

    Raises:
        InvalidValueError: The name is not known, or such a network is for images only.
    """
    name = full_name(name)
    if found := re.fullmatch(r"wrn-(\d+)-(\d+)", name):
        depth, width = map(int, found.groups())
        return WideResNet(depth, width, task, device)
    if task.dims != 2:
        raise InvalidValueError(
            f"baseline {name!r} is for images, got data with {task.dims} spatial axes: "
            "take a wide ResNet, such as wrn-16-2"
        )
    return _of_torchvision(name, task, device)


def full_name(name: str) -> str:
    """The one name of a network: in lower case, in torchvision's spelling, a family filled in.

    Raises:
        InvalidValueError: There is no such network.
    """
    asked, name = name, name.lower()
    name = ALIASES.get(name, name)
    if found := re.fullmatch(r"wrn-?(\d+)-(\d+)", name):
        depth, width = map(int, found.groups())
        if depth < 10 or (depth - 4) % 6 or not width:
            raise InvalidValueError(
                f"baseline {asked!r}: a wide ResNet's depth must be 6n + 4, such as 16, 28 or 40, "
                "and its width at least 1: try wrn-16-2"
            )
        return f"wrn-{depth}-{width}"
    spellings = {known.replace("_", ""): known for known in _torchvision_names()}
    plain = re.sub(r"[-_]", "", name)
    if plain not in spellings:
        known = [*ALIASES, *spellings.values(), "wrn-16-2"]
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
        width: K: the stages have 16K, 32K and 64K channels.
        task: What it is for.
        device: Where its parameters are.
    """

    def __init__(self, depth: int, width: int, task: Task, device: str) -> None:
        super().__init__()
        dims, units = task.dims, (depth - 4) // 6
        self.stem = convolution(
            task.channels, _STEM_WIDTH, (3,) * dims, stride=fitting_stride(task.size), device=device
        )
        self.units = nn.Sequential()
        inputs = _STEM_WIDTH
        for stage in range(3):
            outputs = _STEM_WIDTH * width << stage
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
