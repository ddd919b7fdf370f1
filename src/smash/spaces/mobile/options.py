"""The options of the space for devices.

This module needs the standard library alone, so that it stands in exported files.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MobileOptions:
    """The options of the space for devices: what its networks may vary.

    Attributes:
        stem: Widths of the first convolution.
        widths: Widths of each stage.
        strides: Stride of the first block of each stage.
        depths: Numbers of blocks of a stage.
        kinds: Kinds of block.
        kernels: Extents of kernels for images and volumes.
        signal_kernels: Extents of kernels for signals, which need longer ones: with the limits of
            a small device, networks of 5, 9 and 15 err less on unseen subjects than those of 3
            and 5.
        expansions: Expansions of fused and inverted blocks.
        squeeze: Whether blocks may squeeze and excite.
        activations: Activations, one for the whole network.
        heads: Widths of the head's convolution; 0 is none.
        extent: Extent that the stem brings larger inputs down to along each axis, by axes.
        stem_stride: Stride of the stem instead.
    """

    stem: tuple[int, ...]
    widths: tuple[tuple[int, ...], ...]
    strides: tuple[int, ...] = (1, 2, 2)
    depths: tuple[int, ...] = (1, 2, 3)
    kinds: tuple[str, ...] = ("residual", "fused", "inverted", "separable")
    kernels: tuple[int, ...] = (3, 5)
    signal_kernels: tuple[int, ...] = (5, 9, 15)
    expansions: tuple[int, ...] = (1, 2, 3, 4, 6)
    squeeze: bool = False
    activations: tuple[str, ...] = ("relu",)
    heads: tuple[int, ...] = (0,)
    extent: tuple[tuple[int, int], ...] = ((1, 256), (2, 32), (3, 16))
    stem_stride: int | None = None
