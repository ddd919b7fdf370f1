"""A SMASH network and synthetic data of a given size, the same in each run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smash.config import Length, SpaceSettings, TrainingPlan
from smash.data import Augmentation, Data, load_data
from smash.hypernet import SmashNetwork
from smash.runtime.device import autocast
from smash.runtime.rng import generator, torch_generator
from smash.spaces import make_space
from smash.spaces.parameters import initialise
from smash.spaces.task import Task
from smash.training.defaults import DEFAULTS, SHARED_DEFAULTS
from smash.training.optim import clip_gradients, make_optimizer

BATCH = 50
"""Images in a training step."""

_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the network is, and how much is scored with it.

    Attributes:
        preset: Preset of the space.
        side: Height and width of an image in pixels.
        channels: Channels of an image.
        candidates: Candidates in a race.
        examples: Validation examples that a candidate is scored on.
        space: Name of the space.
        hypernet: Name of the weight source.
    """

    preset: str
    side: int
    channels: int
    candidates: int
    examples: int
    space: str = "memory-bank"
    hypernet: str = "convolutional"


SIZES: Mapping[str, Size] = {
    "mobile-digits": Size(
        preset="tiny", side=8, channels=1, candidates=60, examples=2000,
        space="mobile", hypernet="none",
    ),
    "digits": Size(preset="tiny", side=8, channels=1, candidates=60, examples=2000),
    "cifar-small": Size(preset="small", side=32, channels=3, candidates=40, examples=1000),
    "cifar-default": Size(preset="original", side=32, channels=3, candidates=12, examples=500),
    "mobile": Size(
        preset="small", side=32, channels=3, candidates=40, examples=1000,
        space="mobile", hypernet="none",
    ),
}  # fmt: skip


class Workload:
    """An untrained SMASH network of one size, with data and an optimiser.

    Time does not depend on the weights, so nothing is trained.

    Args:
        name: Name in `SIZES`.
        device: Where networks compute.
        space: Name of the space, with its default preset; by default that of the size.
        hypernet: Name of the weight source; by default that of the size.
    """

    def __init__(
        self,
        name: str,
        device: torch.device,
        space: str | None = None,
        hypernet: str | None = None,
    ) -> None:
        self.name, self.size, self.device = name, SIZES[name], device
        self.task = Task(channels=self.size.channels, size=(self.size.side,) * 2, classes=_CLASSES)
        name_of_space = space or self.size.space
        preset = self.size.preset if name_of_space == self.size.space else None
        settings = SpaceSettings(name=name_of_space, preset=preset)
        self.space = make_space(settings, dims=2).bind(self.task)
        self._hypernet = hypernet or self.size.hypernet

    @cached_property
    def network(self) -> SmashNetwork:
        """The SMASH network."""
        return SmashNetwork(self.space, self.task, self._hypernet).to(self.device)

    @cached_property
    def plan(self) -> TrainingPlan:
        """The settings that the space and the preset train with by default."""
        key = self.size.preset if self.space.name == "memory-bank" else self.space.name
        return TrainingPlan(length=Length(steps=1), **DEFAULTS.get(key, SHARED_DEFAULTS))

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of the plan."""
        return make_optimizer(self.network, self.plan)

    @cached_property
    def data(self) -> Data:
        """Synthetic data with enough examples to score on."""
        return synthetic_data(self.size, 2 * self.size.examples).to(self.device)

    def architecture(self, number: int) -> Any:
        """Samples an architecture as training does half-way through."""
        return self.space.sample_for_training(generator(0, "bench", number), 0.5)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Draws a batch of images and labels."""
        shape = (BATCH, self.task.channels, *self.task.size)
        images = torch.randn(shape, generator=torch_generator(0, "bench images"))
        labels = torch.arange(BATCH) % _CLASSES
        return images.to(self.device), labels.to(self.device)

    def child(self, number: int) -> nn.Module:
        """Builds the child of an architecture, with weights of its own."""
        child = self.space.build(self.architecture(number), self.task, str(self.device))
        initialise(child, torch_generator(0, "bench child"))
        return child

    def step(self, number: int, images: Tensor, labels: Tensor) -> None:
        """Runs one step of SMASH training."""
        with autocast(self.device):
            logits = self.network(self.architecture(number), images)
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), labels).backward()
        if self.plan.clip_norm is not None:
            clip_gradients(self.optimizer, self.plan.clip_norm)
        self.optimizer.step()


def synthetic_data(size: Size, examples: int) -> Data:
    """Makes a data set of noise with balanced labels, augmented by padded crops and flips.

    Args:
        size: Size of the images.
        examples: Examples in all; about half of them are for validation.
    """
    shape = (examples, size.channels, size.side, size.side)
    images = generator(0, "bench data").integers(256, size=shape, dtype="uint8")
    source = {"data": images, "labels": torch.arange(examples).numpy() % _CLASSES}
    data = load_data(source, dims=2, channels="first", val_fraction=0.6, test_fraction=0.1)
    return replace(data, augmentation=Augmentation(min(4, size.side // 8), flip=True))
