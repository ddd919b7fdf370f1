"""Torch's layers by number of spatial axes, made without drawing initial values.

A child network is built on the meta device thousands of times, where values are neither needed nor
kept, and drawing them would be half of the cost; `smash.spaces.layers` draws those that are
trained.
There each layer is a copy of one made before: torch's own constructors cost five times as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import torch
from torch import nn

_BARE = vars(nn.Module())
_OWN = [(name, type(value)) for name, value in _BARE.items() if isinstance(value, dict | set)]


class Part(nn.Module):
    """A module that a child is made of; it reads and trains as any other.

    For each attribute that is set, torch looks for parameters, modules and buffers one after the
    other, which took a seventh of building a child. Here that is left out where nothing is found.
    """

    def __init__(self) -> None:
        _fill(self, _BARE)

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute, or a module of the part."""
        if isinstance(value, nn.Module) and name not in self.__dict__:
            self._modules[name] = value
        elif isinstance(value, nn.Module | torch.Tensor) or (
            name in self._modules or name in self._parameters or name in self._buffers
        ):
            super().__setattr__(name, value)
        else:
            object.__setattr__(self, name, value)


class _Conv1d(nn.Conv1d):
    def reset_parameters(self) -> None:
        pass


class _Conv2d(nn.Conv2d):
    def reset_parameters(self) -> None:
        pass


class _Conv3d(nn.Conv3d):
    def reset_parameters(self) -> None:
        pass


class Linear(nn.Linear):
    """A linear layer."""

    def reset_parameters(self) -> None:
        """Leaves the values open."""


_CONVOLUTIONS: dict[int, Any] = {1: _Conv1d, 2: _Conv2d, 3: _Conv3d}
_NORMS: dict[int, Any] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_POOLS: dict[int, Any] = {
    1: nn.functional.avg_pool1d,
    2: nn.functional.avg_pool2d,
    3: nn.functional.avg_pool3d,
}

_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}  # by axes; signals have none
_WORKING_EXTENT = {1: 1024, 2: 32, 3: 16}


def convolution(
    inputs: int,
    outputs: int,
    kernel: tuple[int, ...],
    *,
    device: str,
    stride: tuple[int, ...] | int = 1,
    dilation: tuple[int, ...] | int = 1,
    groups: int = 1,
) -> nn.Module:
    """A convolution without bias that keeps the extent (but for the stride); odd kernels."""
    make = _meta_convolution if device == "meta" else _make_convolution
    layer = make(inputs, outputs, kernel, stride, dilation, groups, device)
    return _copy(layer) if device == "meta" else layer


def batch_norm(channels: int, dims: int, *, device: str) -> nn.Module:
    """A BatchNorm over `dims` spatial axes."""
    make = _meta_norm if device == "meta" else _make_norm
    layer = make(channels, dims, device)
    return _copy(layer) if device == "meta" else layer


def _make_convolution(
    inputs: int,
    outputs: int,
    kernel: tuple[int, ...],
    stride: tuple[int, ...] | int,
    dilation: tuple[int, ...] | int,
    groups: int,
    device: str,
) -> nn.Module:
    dims = len(kernel)
    strides, dilations = (
        (one,) * dims if isinstance(one, int) else one for one in (stride, dilation)
    )
    padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilations, strict=True))
    if device != "meta":
        settings: dict[str, Any] = {"dilation": dilations, "groups": groups, "bias": False}
        return _CONVOLUTIONS[dims](  # type: ignore[no-any-return]
            inputs, outputs, kernel, stride=strides, padding=padding, device=device, **settings
        )
    layer = _copy(_template(dims))
    vars(layer).update(
        in_channels=inputs,
        out_channels=outputs,
        kernel_size=kernel,
        stride=strides,
        padding=padding,
        dilation=dilations,
        groups=groups,
        _reversed_padding_repeated_twice=tuple(p for p in reversed(padding) for _ in range(2)),
    )
    weight = torch.empty(outputs, inputs // groups, *kernel, device="meta")
    layer._parameters["weight"] = nn.Parameter(weight)
    return layer


def _make_norm(channels: int, dims: int, device: str) -> nn.Module:
    layer: nn.Module = _NORMS[dims](channels, device=device)
    return layer


_meta_convolution = lru_cache(maxsize=4096)(_make_convolution)
_meta_norm = lru_cache(maxsize=4096)(_make_norm)


@cache
def _template(dims: int) -> nn.Module:
    """A convolution, of which others differ by their settings and their weight alone."""
    layer: nn.Module = _CONVOLUTIONS[dims](1, 1, 1, bias=False, device="meta")
    del layer._parameters["weight"]
    return layer


def _fill(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Gives a module the attributes of another, with dictionaries of its own that are empty."""
    own = vars(module)  # not by setattr, which is most of what a constructor costs
    own.update(state)
    own.update([(name, make()) for name, make in _OWN])


def _copy(layer: nn.Module) -> nn.Module:
    """A layer like `layer`, on the meta device, with parameters, buffers and hooks of its own."""
    copy = type(layer).__new__(type(layer))
    _fill(copy, vars(layer))
    for name, parameter in layer._parameters.items():  # with those that are None
        copy._parameters[name] = None if parameter is None else nn.Parameter(parameter.detach())
    for name, buffer in layer._buffers.items():
        copy._buffers[name] = None if buffer is None else buffer.detach()
    return copy


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """The same images or volumes, all channels of a place beside each other in memory.

    Convolutions that read such a tensor give one, and run faster on a CPU: by a third forward, by a
    tenth backward, at CIFAR's default size. Numbers, axes and shape stay what they are.
    """
    layout = _LAYOUTS.get(x.ndim)
    if layout is None or x.device.type == "mps":
        return x
    return x.clone(memory_format=layout)  # contiguous() leaves a single channel as it is


def average_pool(x: torch.Tensor, extent: int, *, ceil: bool = False) -> torch.Tensor:
    """Averages N×C×spatial over windows of `extent`, without overlap.

    What is left of an extent at its end is dropped, or with `ceil` averaged by itself.
    """
    pooled: torch.Tensor = _POOLS[x.ndim - 2](x, extent, ceil_mode=ceil)
    return pooled


def average_near(x: torch.Tensor, extent: int) -> torch.Tensor:
    """Averages N×C×spatial over windows of odd `extent` around each place, without the padding."""
    settings: dict[str, Any] = {"stride": 1, "count_include_pad": False}
    if x.ndim - 2 < 3:
        pool = _POOLS[x.ndim - 2]
        return pool(x, extent, padding=extent // 2, **settings)  # type: ignore[no-any-return]
    # Over planes, then over what lies behind each other: avg_pool3d refuses extents below the
    # window, which small volumes come down to.
    pool = nn.functional.avg_pool2d
    planes = pool(x.flatten(1, 2), extent, padding=extent // 2, **settings).view_as(x)
    around = pool(planes.flatten(3), (extent, 1), padding=(extent // 2, 0), **settings)
    return around.view_as(x)


def fitting_stride(size: tuple[int, ...]) -> tuple[int, ...]:
    """Stride an axis that brings an input down to 32² (1024 samples, 16³ voxels) or less."""
    return tuple(-(-extent // _WORKING_EXTENT[len(size)]) for extent in size)


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draws initial weights: He's for convolutions and the classifier, the identity for norms."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            drawn = torch.empty(module.weight.shape)
            nn.init.kaiming_normal_(drawn, nonlinearity="relu", generator=generator)
            with torch.no_grad():
                module.weight.copy_(drawn)
                if module.bias is not None:
                    module.bias.zero_()


def count_parameters(child: nn.Module) -> int:
    """Counts the values of all parameters."""
    return sum(parameter.numel() for parameter in child.parameters())
