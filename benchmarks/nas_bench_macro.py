"""NAS-Bench-Macro (Su et al. 2021, arXiv 2103.11922) as a search space of one function.

Eight layers, each the identity, or a MobileNetV2 block with kernel 3 and expansion 3 or with
kernel 5 and expansion 6. Use it as ``--space benchmarks/nas_bench_macro.py:network``.
"""

# ruff: noqa: D101, D102, D103

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

import smash
from smash.spaces.choices import Choose

LAYERS = [(32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 128, 1),
          (128, 256, 2), (256, 256, 1), (256, 256, 1)]  # fmt: skip
BLOCKS = {"identity": None, "small": (3, 3), "large": (5, 6)}  # kernel, expansion


def conv(inputs: int, outputs: int, kernel: int = 1, act: bool = True, **more: Any) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **more)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU6() if act else nn.Identity())


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.body = nn.Sequential(
            conv(inputs, inner), conv(inner, inner, kernel, stride=stride, groups=inner),
            conv(inner, outputs, act=False))  # fmt: skip
        self.residual = inputs == outputs and stride == 1

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images)
        return images + features if self.residual else features


def network(choose: Choose, task: smash.Task) -> nn.Module:
    net = nn.Sequential()
    net.add_module("stem", conv(task.channels, 32, 3))
    for number, (inputs, outputs, stride) in enumerate(LAYERS):
        kind = choose(f"layer {number}", tuple(BLOCKS))
        if shape := BLOCKS[kind]:
            net.add_module(f"{kind}{number}", Block(inputs, outputs, stride, *shape))
        elif inputs != outputs:
            net.add_module(f"{kind}{number}", conv(inputs, outputs, act=False, stride=stride))
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, task.classes))
    net.add_module("head", nn.Sequential(conv(256, 1280), pool))
    return net
