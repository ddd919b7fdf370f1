"""Reference networks by name, to compare a child with: trained by the same code on the same data.

ResNets and wide ResNets for CIFAR (`smash.spaces.resnet`) and the plain networks of small devices
(`smash.spaces.plain`) come in all sizes and take signals, images and volumes. Others are
torchvision's, for images, adapted to small ones as is usual: a 3×3 stem without the max-pool after
it, whose stride reduces large images to 32²; or timm's, for images, as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import partial
from typing import Any

import torch
from torch import nn

from smash.errors import InvalidValueError, MissingExtraError, reason_of, unknown
from smash.io.text import as_size
from smash.runtime.rng import seeded
from smash.spaces.base import Definition
from smash.spaces.baseline_names import PLAIN, RESNET, TIMM, WRN, full_name
from smash.spaces.layers import fitting_stride
from smash.spaces.parameters import count_parameters, without_values
from smash.spaces.plain import PlainNetwork
from smash.spaces.resnet import STEM_WIDTH, ResNet, WideResNet
from smash.spaces.task import Task

_PLAIN_SOURCES = (
    "smash.spaces.mobile.options",
    "smash.spaces.mobile.network",
    "smash.spaces.plain",
)
_FITTED_DEPTH = 20
_WIDEST = 1024


def make_baseline(name: str, task: Task, device: str = "meta") -> nn.Module:
    """Builds a reference network whose convolutions and linear layers are not yet initialised.

    Args:
        name: ``wrn-D-K``, a wide ResNet of depth D and width K, such as ``wrn-16-2`` or
            ``wrn-10-0.5``; ``resnet-D-W``, CIFAR's ResNet of depth D whose stages have W, 2W and 4W
            channels (published with W = 16); ``mlperf-resnet-W``, ``mobilenet-W``, ``ds-cnn-W``,
            ``cnn-W`` or ``inception-W``, plain networks of width W; a ResNet, DenseNet or VGG as
            torchvision names it, such as ``resnet18``; one of `ALIASES`; or ``timm:NAME``.
        task: The task.
        device: Device of the parameters and buffers.

    Returns:
        A module that maps N×channels×spatial to logits, N×classes.

    Raises:
        InvalidValueError: The name is unknown, or the network does not take such data.
        MissingExtraError: timm is needed and not installed.
    """
    name = full_name(name)
    definition = define_baseline(name, task)
    if definition is None and task.dims != 2:
        raise InvalidValueError(
            f"baseline {name!r} takes images, got data with {task.dims} spatial axes: "
            "use a wide ResNet, such as wrn-16-2"
        )
    if name.startswith(TIMM):
        return _of_timm(name, task, device)
    with without_values(device):
        if definition is not None:
            return definition.build()
        network = _of_torchvision(name, task)
        if device == "meta":
            _check_input(name, network, task)
    return network


def define_baseline(name: str, task: Task) -> Definition | None:
    """Gives the source of a reference network; None for a network of torchvision or timm."""
    name = full_name(name)
    modules = ("smash.spaces.task", "smash.spaces.layers", "smash.spaces.resnet")
    arguments: dict[str, Any]
    if found := WRN.fullmatch(name):
        width = float(found[2])
        arguments = {"depth": int(found[1]), "width": int(width) if width.is_integer() else width}
        return Definition(modules, WideResNet, {**arguments, "task": task})
    if found := RESNET.fullmatch(name):
        arguments = {"depth": int(found[1]), "width": int(found[2])}
        return Definition(modules, ResNet, {**arguments, "task": task})
    if found := PLAIN.fullmatch(name):
        arguments = {"family": found[1], "width": int(found[2]), "task": task}
        return Definition((*modules[:2], *_PLAIN_SOURCES), PlainNetwork, arguments)
    return None


def fit_baseline(family: str, params: int, task: Task) -> str:
    """Finds the member of a family whose number of parameters is nearest, as a ratio.

    Args:
        family: ``resnet``, of depth 20 and any width, or ``wrn``, of any depth and width, and of
            depth 10 and fractional widths below WRN-10-1, the smallest published one.
        params: Number of parameters to come near to.
        task: The task.
    """
    nearest, least = "", math.inf
    for name in _members(family):
        found = count_parameters(make_baseline(name, task))
        difference = abs(math.log(found / params))
        if difference < least:
            nearest, least = name, difference
        elif found > params and not name.startswith("wrn"):
            break  # the members of the other family are in ascending size
    return nearest


def fit_plain_network(family: str, fits: Callable[[str], bool]) -> str | None:
    """Finds the widest member of a plain family that stays within limits.

    Args:
        family: One of `PLAIN_FAMILIES`, whose costs grow with the width.
        fits: Tells whether the network of a name is within the limits. The widest that it is asked
            for is at most twice as wide as one that is.

    Returns:
        Its name; None where even the narrowest exceeds them.
    """
    fitting, over = 0, 1
    while over <= _WIDEST and fits(f"{family}-{over}"):
        fitting, over = over, 2 * over
    while over - fitting > 1:
        width = (fitting + over) // 2
        if width <= _WIDEST and fits(f"{family}-{width}"):
            fitting = width
        else:
            over = width
    return f"{family}-{fitting}" if fitting else None


def _members(family: str) -> Iterator[str]:
    if family == "resnet":
        yield from (f"resnet-{_FITTED_DEPTH}-{width}" for width in range(1, 1025))
    else:
        yield from (f"wrn-10-{channels / STEM_WIDTH}" for channels in range(1, STEM_WIDTH))
        yield from (f"wrn-{depth}-{width}" for depth in range(10, 41, 6) for width in range(1, 13))


def _of_torchvision(name: str, task: Task) -> nn.Module:
    """Adapts a network of torchvision to small images."""
    from torchvision import models

    network: Any = models.get_model(name, weights=None, num_classes=task.classes)
    if name.startswith("vgg"):
        _shrink_vgg(network, task)
    elif name.startswith("densenet"):
        network.features.conv0 = _stem(task, network.features.conv0.out_channels)
        network.features.pool0 = nn.Identity()
    else:
        network.conv1 = _stem(task, network.conv1.out_channels)
        network.maxpool = nn.Identity()
    return network  # type: ignore[no-any-return]


def _of_timm(name: str, task: Task, device: str) -> nn.Module:
    """Builds a network of timm without pretrained weights.

    Its own initial values, such as those of positions, are the same in each call.
    """
    try:
        import timm
    except ImportError:
        raise MissingExtraError(
            f"network {name!r} needs the package 'timm', which is not installed: "
            "pip install 'smash-nas[timm]'"
        ) from None
    own = name.removeprefix(TIMM)
    if own not in (known := timm.list_models()):
        known = [*get_close_matches(own, known, n=1), "mobilenetv3_small_050", "resnet10t"]
        raise InvalidValueError(unknown("network of timm", own, known))
    build = partial(timm.create_model, own, in_chans=task.channels, num_classes=task.classes)
    network: nn.Module
    if device != "meta":
        with seeded(0, "timm", 0, torch.device(device)), torch.device(device):
            network = build()
        return network
    with without_values(device):
        network = build()
        _check_input(name, network, task)
    return network


def _check_input(name: str, network: nn.Module, task: Task) -> None:
    """Makes sure that a network of another library takes inputs of the task."""
    try:
        with torch.no_grad():
            network.eval()(torch.empty(1, task.channels, *task.size))
    except Exception as error:  # A network raises anything for a size that it does not take.
        raise InvalidValueError(
            f"network {name!r} does not take {task.channels} channels of {as_size(task.size)} "
            f"({reason_of(error)}): choose a convolutional one"
        ) from None
    network.train()


def _stem(task: Task, width: int, *, bias: bool = False) -> nn.Conv2d:
    stride: Any = fitting_stride(task.size)
    return nn.Conv2d(task.channels, width, 3, stride=stride, padding=1, bias=bias)


def _shrink_vgg(network: Any, task: Task) -> None:
    """Keeps as many max-pools as the image allows, and one linear layer instead of three.

    The published classifier has 120 million parameters, for features of 7×7.
    """
    layers = network.features
    layers[0] = _stem(task, layers[0].out_channels, bias=True)
    stride = fitting_stride(task.size)
    extents = (-(-extent // by) for extent, by in zip(task.size, stride, strict=True))
    allowed = int(math.log2(min(extents)))
    pools = [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    for index in pools[allowed:]:
        layers[index] = nn.Identity()
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.classifier = nn.Linear(512, task.classes)
