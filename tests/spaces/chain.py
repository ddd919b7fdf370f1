"""A search space as a user would write one: a chain of blocks, by the contract alone.

Each block expands its channels, convolves each by itself, and projects back; it chooses its width,
its kernel and its expansion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smash.errors import InvalidValueError
from smash.spaces import SearchSpace, Task

CHOICES: Mapping[str, tuple[int, ...]] = {
    "width": (4, 8, 12),
    "kernel": (3, 5),
    "expansion": (1, 2),
}


@dataclass(frozen=True)
class ChainBlock:
    width: int
    kernel: int
    expansion: int


@dataclass(frozen=True)
class Chain:
    blocks: tuple[ChainBlock, ...]


class ChainLayer(nn.Module):
    def __init__(self, inputs: int, block: ChainBlock) -> None:
        super().__init__()
        inner = inputs * block.expansion
        self.expand = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm = nn.BatchNorm2d(inner)
        self.depthwise = nn.Conv2d(
            inner, inner, block.kernel, padding=block.kernel // 2, groups=inner, bias=False
        )
        self.project = nn.Conv2d(inner, block.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(F.relu(self.depthwise(F.relu(self.norm(self.expand(x))))))
        return y + x if y.shape == x.shape else y


class ChainNetwork(nn.Module):
    def __init__(self, chain: Chain, task: Task) -> None:
        super().__init__()
        widths = [task.channels, *(block.width for block in chain.blocks)]
        self.blocks = nn.Sequential(
            *(
                ChainLayer(inputs, block)
                for inputs, block in zip(widths[:-1], chain.blocks, strict=True)
            )
        )
        self.classifier = nn.Linear(widths[-1], task.classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.blocks(images).mean((2, 3)))
        return logits


class ChainSpace(SearchSpace[Chain]):
    name = "chain"

    def __init__(self, depth: int = 3) -> None:
        self.depth = depth

    def sample(self, rng: np.random.Generator, progress: float = 1.0) -> Chain:
        return Chain(tuple(self._draw_block(rng) for _ in range(self.depth)))

    def _draw_block(self, rng: np.random.Generator) -> ChainBlock:
        return ChainBlock(**{name: int(rng.choice(values)) for name, values in CHOICES.items()})

    def mutate(self, architecture: Chain, rng: np.random.Generator, rate: float = 0.05) -> Chain:
        while True:
            blocks = []
            for block in architecture.blocks:
                drawn = asdict(self._draw_block(rng))
                kept = {name: value for name, value in drawn.items() if rng.random() < rate}
                blocks.append(replace(block, **kept))
            changed = Chain(tuple(blocks))
            if changed != architecture:
                return changed

    def network(self, architecture: Chain, task: Task) -> ChainNetwork:
        return ChainNetwork(architecture, task)

    def features(self, architecture: Chain) -> Tensor:
        return torch.tensor(
            [
                float(value == getattr(block, name))
                for block in architecture.blocks
                for name, values in CHOICES.items()
                for value in values
            ]
        )

    def readable(self, architecture: Chain) -> dict[str, float]:
        return {"width": float(sum(block.width for block in architecture.blocks))}

    def to_json(self, architecture: Chain) -> dict[str, Any]:
        return {"blocks": [asdict(block) for block in architecture.blocks]}

    def from_json(self, value: Mapping[str, Any]) -> Chain:
        try:
            chain = Chain(tuple(ChainBlock(**block) for block in value["blocks"]))
        except (KeyError, TypeError) as error:
            raise InvalidValueError(f"not a chain: {error!r}") from None
        faults = [
            f"{name} must be one of {values}, got {getattr(block, name)}"
            for block in chain.blocks
            for name, values in CHOICES.items()
            if getattr(block, name) not in values
        ]
        if len(chain.blocks) != self.depth:
            faults.append(f"a chain has {self.depth} blocks, got {len(chain.blocks)}")
        if faults:
            raise InvalidValueError(*faults)
        return chain

    def largest(self) -> Chain:
        return self._all(max)

    def smallest(self) -> Chain:
        return self._all(min)

    def _all(self, pick: Any) -> Chain:
        block = ChainBlock(**{name: pick(values) for name, values in CHOICES.items()})
        return Chain((block,) * self.depth)

    def structure(self) -> dict[str, Any]:
        return {} if self.depth == 3 else {"depth": self.depth}
