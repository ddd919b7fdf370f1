"""Trains one child network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from smash.config import ChildSettings
from smash.data import Data, Split
from smash.evaluation import as_json, evaluate
from smash.io.files import make_folder, write_json
from smash.io.locks import hold
from smash.io.tensors import save_tensors
from smash.run.child import Child, build, describe_input, read_about
from smash.run.layout import ARCHITECTURE, MODEL, RESULT
from smash.run.run import Run
from smash.runtime.device import autocast
from smash.runtime.progress import Progress, silent
from smash.runtime.rng import generator, seeded, torch_generator
from smash.scoring.scorer import Scorer
from smash.spaces.parameters import initialise
from smash.training.loop import Trainable, TrainingLoop, Validation
from smash.training.optim import (
    RECIPES,
    averaged,
    learning_rate,
    mix,
    parameter_groups,
    weighted_loss,
)


class ChildTraining(Trainable):
    """The training of a child network.

    Args:
        label: Names the training in progress and messages.
        model: The child, its weights initialised.
        data: The data, on the device of `model`.
        settings: How it is trained.
    """

    def __init__(self, label: str, model: nn.Module, data: Data, settings: ChildSettings) -> None:
        recipe = RECIPES[settings.recipe]
        optimizer = torch.optim.SGD(
            parameter_groups(recipe, model, settings.weight_decay),
            lr=settings.learning_rate,
            momentum=0.9,
            nesterov=True,
        )
        self._average: AveragedModel | None = None
        trained = model
        if recipe.averaging:
            self._average = averaged(model, recipe.averaging)
            trained = nn.ModuleDict({"model": model, "average": self._average})
        super().__init__(label, settings, data, settings.seed, trained, optimizer)
        self._model, self._child_settings, self._recipe = model, settings, recipe
        self.steps = settings.epochs * self.per_epoch

    @property
    def kept(self) -> nn.Module:
        """The model, or the running average of its weights."""
        return self._model if self._average is None else self._average.module

    def step(self, step: int) -> Tensor:
        """Learns from one batch, as the recipe says."""
        settings, recipe = self._child_settings, self._recipe
        images, labels = self.draw_batch(step)
        others, share = labels, 1.0
        if settings.augment and recipe.mixup:
            mixed = mix(images, labels, recipe.mixup, generator(self.seed, "mixup", step))
            images, others, share = mixed.images, mixed.others, mixed.share
        self._model.train()
        dropout = seeded(self.seed, "dropout", step, self.device)
        with autocast(self.device, settings.precision), dropout:
            logits = self._model(images).float()
            loss = self._loss(logits, labels)
            if share < 1:
                loss = share * loss + (1 - share) * self._loss(logits, others)
        self.learn(loss, learning_rate(recipe, settings.learning_rate, step, self.steps))
        if self._average is not None:
            self._average.update_parameters(self._model)
        return loss.detach()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return weighted_loss(logits, labels, self.class_weights, self._recipe.label_smoothing)

    def validate(self, epoch: int) -> Validation:
        """Validates in eval mode."""
        split = self.settings.validate_on
        examples = getattr(self.data, split).first_views
        found = evaluate(self.kept.eval(), examples, self.data, split)
        return Validation(loss=found.loss, error=found.error, top5_error=found.top5_error)


def train_child(
    run: Run,
    path: Path,
    about: Mapping[str, Any],
    settings: ChildSettings,
    data: Data,
    judged: Mapping[str, Split],
    place: torch.device,
    progress: Progress = silent,
) -> Child:
    """Trains a child in a folder, or goes on with it, and commits how good it is.

    Args:
        run: The run it is from.
        path: Its folder.
        about: What it is, such as `about_candidate` says.
        settings: How it is trained.
        data: What it is trained on, on `place`.
        judged: The splits that it is evaluated on at the end, by name.
        place: Where it is computed.
        progress: Shows how far it is.

    Raises:
        DivergedError: The loss is no longer finite.
        RunStateError: It is damaged, or another process is training it.
    """
    make_folder(path)
    with hold(path, "retrain"):
        if (path / RESULT).is_file():  # by another process, until just now
            return Child(path, run, read_about(path))
        return _train_held(run, path, about, settings, data, judged, place, progress)


def _train_held(
    run: Run,
    path: Path,
    about: Mapping[str, Any],
    settings: ChildSettings,
    data: Data,
    judged: Mapping[str, Split],
    place: torch.device,
    progress: Progress,
) -> Child:
    model = build(run, about, place)
    if settings.init == "generated":
        architecture = run.space.from_json(about["architecture"])
        model.load_state_dict(Scorer(run.network(place), data).state(architecture))
    else:
        initialise(model, torch_generator(settings.seed, "initial weights"))
    about = {
        **about,
        "settings": settings.model_dump(),
        "classes": list(data.classes),
        "mean": list(data.mean),
        "std": list(data.std),
        **describe_input(data),
    }
    write_json(path / ARCHITECTURE, about)
    training = ChildTraining(f"retrain {path.name}", model, data, settings)
    metrics = run.metrics_of(path)
    loop = TrainingLoop(training, training.steps, path, metrics, patience=settings.patience)
    loop.run(progress)
    model = training.kept.eval()
    result = {name: as_json(evaluate(model, split, data, name)) for name, split in judged.items()}
    names = {name: about[name] for name in ("id", "classes", "mean", "std")}
    save_tensors(path / MODEL, model.state_dict(), names)
    write_json(path / RESULT, result)  # last: with it the child is finished
    return Child(path, run, about)
