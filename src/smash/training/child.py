"""The training of a child network."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from smash.config import ChildSettings, Length, refuse_changes
from smash.data import Data, Split
from smash.errors import InvalidValueError
from smash.evaluation import evaluate
from smash.io.files import make_folder
from smash.io.locks import hold
from smash.io.tensors import save_tensors
from smash.profiling.names import COUNTED
from smash.run.child import Child, build, describe_child
from smash.run.child_folder import (
    ChildNetwork,
    ChildRecord,
    child_name,
    read_record,
    settings_of_weights,
    write_result,
)
from smash.run.layout import ARCHITECTURE, MODEL, RESULT
from smash.run.mistakes import keep_mistakes
from smash.run.run import Run
from smash.runtime.device import autocast
from smash.runtime.progress import Progress, silent
from smash.runtime.rng import generator, seeded, torch_generator
from smash.scoring.scorer import Scorer
from smash.spaces.parameters import initialise
from smash.study.candidate import Candidate
from smash.training.loop import Trainable, TrainingLoop, Validation, steps_per_epoch
from smash.training.optim import (
    RECIPES,
    averaged,
    learning_rate,
    mix,
    parameter_groups,
    weighted_loss,
)
from smash.training.timing import TIMED_STEPS, Deadline, measure_pace


class ChildTraining(Trainable):
    """The training of a child network.

    Args:
        label: Names the training in progress and messages.
        model: The child, its weights initialised.
        data: The data, on the device of `model`.
        settings: How it is trained.
        length: Its steps; by default those of the epochs of the settings.
    """

    def __init__(
        self,
        label: str,
        model: nn.Module,
        data: Data,
        settings: ChildSettings,
        length: Length | None = None,
    ) -> None:
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
        per_epoch = steps_per_epoch(len(data.train), settings.batch_size)
        length = length or Length(steps=settings.epochs * per_epoch)
        super().__init__(label, settings, data, settings.seed, trained, optimizer, length)
        self._model, self._child_settings, self._recipe = model, settings, recipe

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
        position, steps = self.length.position(step), self.length.steps
        self.learn(loss, learning_rate(recipe, settings.learning_rate, position, steps))
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


@dataclass(frozen=True)
class ChildJob:
    """A child that is to be trained.

    Attributes:
        path: Its folder.
        network: Its network.
        settings: How it is trained.
    """

    path: Path
    network: ChildNetwork
    settings: ChildSettings

    @classmethod
    def of(
        cls, run: Run, network: ChildNetwork, settings: ChildSettings, name: str | None = None
    ) -> ChildJob:
        """Plans the training of a network; id and settings name its folder by default."""
        return cls(run.child_path(name or child_name(network.id, settings)), network, settings)


def network_of(candidate: Candidate) -> ChildNetwork:
    """Returns the network of a candidate."""
    return ChildNetwork(
        id=candidate.id,
        architecture=dict(candidate.architecture),
        **{name: getattr(candidate, name) for name in COUNTED},
    )


def check_start(run: Run, settings: ChildSettings) -> None:
    """Checks that the SMASH network can generate the initial weights of children.

    Raises:
        InvalidValueError: It generates weights for the smaller children of a proxy space.
    """
    if settings.init == "generated" and run.search_space is not run.space:
        raise InvalidValueError(
            f"init must be 'scratch' in run {str(run.path)!r}, got 'generated': its SMASH network "
            "gives weights to smaller children; train one with --no-proxy-space"
        )


def check_begun(job: ChildJob, *, of_that_name: bool = False) -> None:
    """Checks that a child whose training has begun is continued as it began.

    Args:
        job: The child; its folder need not exist.
        of_that_name: Whether the user named the child: then settings that change no weight count
            as well.

    Raises:
        RunStateError: The folder holds another child, or is damaged, or settings differ.
    """
    if not (job.path / ARCHITECTURE).is_file():
        return
    begun, settings = read_record(job.path), job.settings
    now = settings.model_dump() if of_that_name else settings_of_weights(settings)
    refuse_changes(
        {"id": begun.id, **begun.settings.model_dump()},
        {"id": job.network.id, **now},
        since=f"child {job.path.name!r} was begun",
        mend="continue with the same settings, or choose another name",
    )


def _sample(examples: Split, count: int) -> Split:
    """Takes examples that lie evenly in a split, at most `count`."""
    count = max(1, min(count, len(examples)))
    return examples.part(torch.arange(count) * len(examples) // count)


def _keep_to(
    seconds: float, begun: float, path: Path, record: ChildRecord, model: nn.Module, data: Data
) -> tuple[ChildRecord, Deadline]:
    """Plans the length of a child's training by a time, or takes over that which it began with.

    Args:
        seconds: The time.
        begun: Reading of the clock when it began.
        path: Folder of the child.
        record: Its record, without a length.
        model: Its network, which is not changed.
        data: The data to train on.

    Returns:
        The record with the length, and the deadline that revises it.
    """

    def keep(length: Length) -> None:
        record.model_copy(update={"length": length}).write(path / ARCHITECTURE)

    deadline = Deadline(seconds, keep)
    if (path / ARCHITECTURE).is_file() and (length := read_record(path).length) is not None:
        return record.model_copy(update={"length": length}), deadline
    settings, short = record.settings, Length(steps=TIMED_STEPS)
    trial = ChildTraining("timing", copy.deepcopy(model), data, settings, length=short)
    pace = measure_pace(trial, seconds)
    deadline.spent, deadline.validation = time.monotonic() - begun, pace.validation
    apart = trial.per_epoch * (settings.validate_every or math.inf)
    steps = max(1, pace.steps_in(seconds - deadline.spent, apart))
    return record.model_copy(update={"length": Length(steps=steps)}), deadline


def train_child(
    run: Run,
    job: ChildJob,
    data: Data,
    splits: Mapping[str, Split],
    device: torch.device,
    progress: Progress = silent,
) -> Child:
    """Trains a child in its folder, or continues its training, and writes its result.

    Args:
        run: The run that it belongs to.
        job: The child.
        data: The data to train on, on `device`.
        splits: The splits to evaluate it on at the end, by name.
        device: Device to compute on.
        progress: Shows how far training is.

    Raises:
        DivergedError: The loss is no longer finite.
        RunStateError: The folder is damaged, or another process is training the child.
    """
    path = job.path
    make_folder(path)
    with hold(path, "retrain"):
        if (path / RESULT).is_file():  # another process has finished it just now
            return Child.read(path, run)
        begun = time.monotonic()
        record = describe_child(job.network, job.settings, data)
        model = build(run, record, device)
        if job.settings.init == "generated":
            architecture = run.space.from_json(record.architecture or {})
            model.load_state_dict(Scorer(run.network(device), data).state(architecture))
        else:
            initialise(model, torch_generator(job.settings.seed, "initial weights"))
        deadline = None
        if job.settings.minutes is not None:
            record, deadline = _keep_to(60 * job.settings.minutes, begun, path, record, model, data)
        record.write(path / ARCHITECTURE)
        training = ChildTraining(
            f"retrain {path.name}", model, data, job.settings, length=record.length
        )
        TrainingLoop(
            training,
            path,
            run.metrics_of(path),
            patience=job.settings.patience,
            deadline=deadline,
        ).run(progress)
        model = training.kept.eval()
        judged = {"train": _sample(data.train, len(data.val)), **splits}
        result = {name: evaluate(model, split, data, name) for name, split in judged.items()}
        metadata = record.model_dump(include={"id", "classes", "mean", "std"})
        save_tensors(path / MODEL, model.state_dict(), metadata)
        if "val" in splits:
            keep_mistakes(model, splits["val"], data, path)
        write_result(path, result)  # last, because it marks the child as finished
        return Child.read(path, run)
