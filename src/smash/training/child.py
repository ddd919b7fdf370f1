"""The loop that trains one child network, and goes on exactly where it was cut."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from smash.config import ChildSettings
from smash.data import Data, Split, class_weights, epoch_order, training_batch
from smash.errors import (
    DivergedError,
    RunStateError,
)
from smash.evaluation import SPLITS, Evaluation, as_json, evaluate
from smash.io.files import make_folder, write_json
from smash.io.locks import hold
from smash.io.tensors import load_tensors, save_tensors
from smash.run.checkpoint import Checkpoint
from smash.run.child import Child, build, describe_input, read_about
from smash.run.layout import ARCHITECTURE, BEST, CHECKPOINT, COPIES, MODEL, RESULT
from smash.run.metrics_log import MetricsLog
from smash.run.run import Run
from smash.runtime.device import autocast, gradient_scaler
from smash.runtime.progress import Progress, silent
from smash.runtime.rng import generator, seeded, torch_generator
from smash.runtime.signals import Interruption, Terminated, hear_interruption
from smash.scoring.scorer import Scorer
from smash.spaces.parameters import initialise
from smash.training.loop import is_due, steps_per_epoch
from smash.training.optim import (
    RECIPES,
    averaged,
    learning_rate,
    mix,
    parameter_groups,
    weighted_loss,
)

_SECONDS_BETWEEN_SAVES = 300.0


class RetrainingLoop:
    """The training of one child; `go_on` begins where the last checkpoint is.

    Args:
        path: The child's folder.
        metrics: Its training curves.
        model: The child, its weights initialised.
        data: What it is trained on, on `device`.
        settings: How it is trained.
        device: Where it is computed.
    """

    def __init__(
        self,
        path: Path,
        metrics: MetricsLog,
        model: nn.Module,
        data: Data,
        settings: ChildSettings,
        device: torch.device,
    ) -> None:
        self._path, self._metrics = path, metrics
        self._model, self._data, self._settings, self._device = model, data, settings, device
        self._recipe = RECIPES[settings.recipe]
        self._checkpoint = Checkpoint(path / CHECKPOINT)
        self._size = min(settings.batch_size, len(data.train))
        self._per_epoch = steps_per_epoch(len(data.train), self._size)
        self._steps = settings.epochs * self._per_epoch
        self._optimizer = torch.optim.SGD(
            parameter_groups(self._recipe, model, settings.weight_decay),
            lr=settings.learning_rate,
            momentum=0.9,
            nesterov=True,
        )
        self._scaler = gradient_scaler(device, settings.precision)
        self._class_weights = class_weights(data) if settings.class_weights else None
        self._average: AveragedModel | None = None
        if self._recipe.averaging:
            self._average = averaged(model, self._recipe.averaging)
        self._best: dict[str, Any] | None = None  # epoch, error and loss of the best validation
        self._step = 0
        self._closed = 0  # steps after the last epoch that is validated and written down
        self._loss_sum = torch.zeros((), device=device)  # of the steps since then
        self._seconds = 0.0

    def go_on(self, progress: Progress) -> nn.Module:
        """Trains to the end, or until it is interrupted; keeps the state either way.

        Returns:
            The network that is to be kept, in eval mode.

        Raises:
            DivergedError: The loss is no longer finite.
            RunStateError: The checkpoint, or the best weights, are damaged or gone.
        """
        self._restore()
        self._metrics.truncate(self._closed)
        epochs, words = self._settings.epochs, ""
        label = f"retrain {self._path.name}"
        with hear_interruption() as interruption, progress(label, epochs) as advance:
            saved = time.monotonic()
            started = saved - self._seconds
            while self._closed < self._steps and not self._waited_long_enough():
                if self._step - self._closed == self._per_epoch:
                    words = self._end_epoch(interruption)
                    self._save()
                    saved = time.monotonic()
                    advance(self._step // self._per_epoch, words)
                else:
                    self._take_step()
                    self._seconds = time.monotonic() - started
                    if time.monotonic() - saved > _SECONDS_BETWEEN_SAVES:
                        self._check_loss()
                        self._save()
                        saved = time.monotonic()
                if interruption.requested:
                    self._check_loss()
                    self._save()
                    interruption.stop()
        if self._settings.patience is not None:
            self._load_best()
        return self._judged.eval()

    @property
    def _judged(self) -> nn.Module:
        """What is validated and kept: the model, or the running average of its weights."""
        return self._model if self._average is None else self._average.module

    @property
    def _trained(self) -> nn.Module:
        """All that a checkpoint holds of networks."""
        if self._average is None:
            return self._model
        return nn.ModuleDict({"model": self._model, "average": self._average})

    def _save(self) -> None:
        about = {
            "step": self._step,
            "closed": self._closed,
            "loss_sum": self._loss_sum.item(),
            "seconds": self._seconds,
            "scaler": self._scaler.state_dict(),
            "best": self._best,
        }
        self._checkpoint.save(self._trained, self._optimizer, about)

    def _restore(self) -> None:
        path, number = self._checkpoint.path, (int, float)
        if not path.exists():
            if len(self._metrics.rows()) > 1:  # one line is written before the first checkpoint
                raise RunStateError(
                    f"{path} is gone, though {self._metrics.path} tells of training: restore it, "
                    f"or delete the folder {str(self._path)!r} to train anew"
                )
            return
        kinds = {"step": int, "closed": int, "loss_sum": number, "seconds": number, "scaler": dict}
        about = self._checkpoint.load(
            self._trained, self._optimizer, **kinds, best=(dict, type(None))
        )
        self._step, self._closed = about["step"], about["closed"]
        if not 0 <= self._closed <= self._step <= self._steps:
            raise RunStateError(f"{path} does not fit this child: it is at step {self._step}")
        self._loss_sum.fill_(about["loss_sum"])
        self._scaler.load_state_dict(about["scaler"])
        self._best, self._seconds = about["best"], about["seconds"]

    def _take_step(self) -> None:
        settings = self._settings
        epoch, index = divmod(self._step, self._per_epoch)
        order = epoch_order(len(self._data.train), settings.seed, epoch)
        loss = self._loss(order[index * self._size : (index + 1) * self._size])
        rate = learning_rate(self._recipe, settings.learning_rate, self._step, self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.update_parameters(self._model)
        self._loss_sum += loss.detach()
        self._step += 1

    def _loss(self, rows: Tensor) -> Tensor:
        """The loss of the examples at `rows`, shape (n,), as the recipe has it."""
        settings, recipe, step = self._settings, self._recipe, self._step
        self._model.train()
        batch = training_batch(self._data.train, rows, settings.seed, step)
        images = batch.images
        if settings.augment:
            images = self._data.augmentation(
                images, torch_generator(settings.seed, "augmentation", step)
            )
        images, others, share = self._data.normalise(images), batch.labels, 1.0
        if settings.augment and recipe.mixup:
            mixed = mix(images, others, recipe.mixup, generator(settings.seed, "mixup", step))
            images, others, share = mixed.images, mixed.others, mixed.share
        dropping = seeded(settings.seed, "dropout", step, self._device)
        with autocast(self._device, settings.precision), dropping:
            logits = self._model(images).float()
            loss = self._loss_of(logits, batch.labels)
            if share == 1:
                return loss
            return share * loss + (1 - share) * self._loss_of(logits, others)

    def _loss_of(self, logits: Tensor, labels: Tensor) -> Tensor:
        return weighted_loss(logits, labels, self._class_weights, self._recipe.label_smoothing)

    def _check_loss(self) -> None:
        loss = self._loss_sum.item()
        if not math.isfinite(loss):
            raise DivergedError(
                f"the training loss of child {self._path.name!r} is {loss} at step {self._step}, "
                f"no longer finite: lower --learning-rate (it is {self._settings.learning_rate:g});"
                " the last checkpoint is kept"
            )

    def _end_epoch(self, interruption: Interruption) -> str:
        """Validates where it is due, writes the epoch's line and says it in a few words."""
        self._check_loss()
        settings = self._settings
        epoch = self._step // self._per_epoch
        train_loss = self._loss_sum.item() / self._per_epoch
        row: dict[str, Any] = {"step": self._step, "epoch": epoch, "train_loss": train_loss}
        words = f"loss {train_loss:.3f}"
        if is_due(settings.validate_every, epoch) or epoch == settings.epochs:
            scores = self._validate(interruption)
            row |= {"val_loss": scores.loss, "val_error": scores.error}
            row |= {"val_top5_error": scores.top5_error, "split": scores.split}
            words += f", {SPLITS[scores.split]} error {scores.error:.1%}"
            self._remember({"epoch": epoch, "error": scores.error, "loss": scores.loss})
        self._metrics.append({**row, "seconds": round(self._seconds, 3)})
        if is_due(settings.keep_every, epoch):
            copy = self._path / COPIES / f"epoch-{epoch}.safetensors"
            copy.parent.mkdir(exist_ok=True)
            save_tensors(copy, self._judged.state_dict(), {"epoch": epoch})
        self._loss_sum.zero_()
        self._closed = self._step
        return words

    def _validate(self, interruption: Interruption) -> Evaluation:
        """Validates; it takes long and changes nothing, so an interruption need not wait for it."""
        split = self._settings.validate_on
        self._judged.eval()
        examples = getattr(self._data, split).first_views
        try:
            with interruption.at_once():
                return evaluate(self._judged, examples, self._data, split)
        except (KeyboardInterrupt, Terminated):
            self._save()
            raise

    def _remember(self, found: dict[str, Any]) -> None:
        """Keeps the weights if none were better; of equal errors the lower loss is better."""
        if self._settings.patience is None:
            return
        before = self._best
        if before and (found["error"], found["loss"]) >= (before["error"], before["loss"]):
            return
        # Before the checkpoint: cut in between, the same epoch writes the same weights again.
        save_tensors(self._path / BEST, self._judged.state_dict(), found)
        self._best = found

    def _waited_long_enough(self) -> bool:
        patience, best = self._settings.patience, self._best
        return bool(
            patience and best and self._closed // self._per_epoch - best["epoch"] >= patience
        )

    def _load_best(self) -> None:
        path = self._path / BEST
        tensors, about = load_tensors(path)
        if about != self._best:
            raise RunStateError(
                f"{path} does not fit its child: delete the folder {str(self._path)!r}, and train "
                "it again"
            )
        self._judged.load_state_dict(tensors)


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
    loop = RetrainingLoop(path, run.metrics_of(path), model, data, settings, place)
    model = loop.go_on(progress)
    result = {name: as_json(evaluate(model, split, data, name)) for name, split in judged.items()}
    names = {name: about[name] for name in ("id", "classes", "mean", "std")}
    save_tensors(path / MODEL, model.state_dict(), names)
    write_json(path / RESULT, result)  # last: with it the child is finished
    return Child(path, run, about)
