"""A network and data of a size, to measure with: synthetic, and the same each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.config import SpaceSettings, TrainingSettings
from smash.data import Augmentation, Data, load_data
from smash.hypernet import SmashNetwork
from smash.runtime.device import autocast
from smash.runtime.rng import generator, torch_generator
from smash.spaces import make_space
from smash.spaces.base import Task
from smash.training.defaults import RECIPES
from smash.training.optim import make_optimizer

BATCH = 50
"""Images of a step."""

_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the network is, and how much is scored with it.

    Attributes:
        preset: Of memory banks.
        side: Of an image, in pixels.
        channels: Of an image.
        candidates: In a race.
        examples: That a candidate is scored on.
    """

    preset: str
    side: int
    channels: int
    candidates: int
    examples: int


SIZES: Mapping[str, Size] = {
    "demo": Size(preset="tiny", side=8, channels=1, candidates=60, examples=2000),
    "cifar-small": Size(preset="small", side=32, channels=3, candidates=40, examples=1000),
    "cifar-default": Size(preset="original", side=32, channels=3, candidates=12, examples=500),
}


class Setting:
    """A SMASH network of one size with what it learns from."""

    def __init__(self, name: str, device: torch.device) -> None:
        self.name, self.size, self.device = name, SIZES[name], device
        self.task = Task(channels=self.size.channels, size=(self.size.side,) * 2, classes=_CLASSES)
        self.space = make_space(SpaceSettings(name="memory-bank", preset=self.size.preset), dims=2)

    @cached_property
    def network(self) -> SmashNetwork:
        """Untrained: time does not depend on the weights."""
        return SmashNetwork(self.space, self.task).to(self.device)

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """As the preset's recipe has it."""
        recipe = TrainingSettings(steps=1, **RECIPES.get(self.size.preset, {}))
        return make_optimizer(self.network, recipe)

    @cached_property
    def data(self) -> Data:
        """Synthetic, enough to score on."""
        return synthetic(self.size, 2 * self.size.examples).to(self.device)

    def architecture(self, number: int) -> Any:
        """One as in the middle of training."""
        rng = generator(0, "bench", number)
        return self.space.sample_for_training(rng, 0.5)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Images and labels."""
        shape = (BATCH, self.task.channels, *self.task.size)
        images = torch.randn(shape, generator=torch_generator(0, "bench images"))
        labels = torch.arange(BATCH) % _CLASSES
        return images.to(self.device), labels.to(self.device)

    def step(self, number: int, images: Tensor, labels: Tensor) -> None:
        """A step of SMASH training."""
        with autocast(self.device):
            logits = self.network(self.architecture(number), images)
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), labels).backward()
        self.optimizer.step()


def synthetic(size: Size, examples: int) -> Data:
    """Noise as images, with labels in turn; padded crops and flips as for photos.

    Args:
        size: Of the images.
        examples: Of which half are to validate on.
    """
    shape = (examples, size.channels, size.side, size.side)
    rng = generator(0, "bench data")
    images = rng.integers(256, size=shape, dtype="uint8")
    source = {"data": images, "labels": torch.arange(examples).numpy() % _CLASSES}
    data = load_data(source, dims=2, channels="first", val_fraction=0.6, test_fraction=0.1)
    return replace(data, augmentation=Augmentation(min(4, size.side // 8), flip=True))
