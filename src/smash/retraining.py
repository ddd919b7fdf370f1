"""Training a child network, from scratch or from generated weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from smash.children import (
    ARCHITECTURE,
    MODEL,
    RESULT,
    Child,
    Evaluation,
    as_json,
    child_name,
    evaluate,
)
from smash.config import RetrainSettings
from smash.data import Data, epoch_order, training_batch
from smash.device import autocast, choose_device
from smash.errors import AlreadyExistsError, DivergedError, InvalidValueError, NotFoundError
from smash.interruption import hear_interruption
from smash.progress import Progress, silent
from smash.randomness import torch_generator
from smash.run import Checkpoint, MetricsLog, Run, read_json, save_tensors, write_json
from smash.scoring import Scorer
from smash.study import Candidate, Study
from smash.training_loop import steps_per_epoch

_CHECKPOINT = "state.safetensors"
_METRICS = "metrics.jsonl"


def retrain(
    run: Run,
    rank: int = 0,
    *,
    top: int | None = None,
    top_epochs: int | None = None,
    device: str = "auto",
    test: bool = True,
    progress: Progress = silent,
    **recipe: Any,
) -> Child:
    """Trains a candidate. An unfinished training of the same child is continued.

    Args:
        run: A run with ranked candidates.
        rank: Which candidate: 0 is the best.
        top: Train this many of the best briefly, keep the one with the lowest validation error,
            and train that fully; `rank` is then not used.
        top_epochs: How long the brief trainings are; a fifth of the full one where None.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        test: Evaluate on the test split at the end.
        progress: Shows how far it is.
        **recipe: Fields of `RetrainSettings`.

    Raises:
        InvalidValueError: A setting is wrong.
        NotFoundError: There is no candidate of this rank.
        AlreadyExistsError: This child was trained already.
        DivergedError: The loss is no longer finite.
    """
    settings = RetrainSettings(**recipe)
    ranked = Study(run.study_path).ranked()
    if top is None:
        return _retrain(run, _pick(ranked, rank), settings, device, test, progress)
    if not 1 <= top <= len(ranked):
        raise InvalidValueError(
            f"top must be from 1 to {len(ranked)}, the number of candidates, got {top}"
        )
    brief = settings.replaced(epochs=top_epochs or max(1, settings.epochs // 5))
    errors = {}
    for candidate in ranked[:top]:
        path = run.child_path(child_name(candidate.id, brief))
        done = (path / RESULT).is_file()
        child = (
            Child(path, run, read_json(path / ARCHITECTURE))
            if done
            else _retrain(run, candidate, brief, device, False, progress)
        )
        errors[candidate.id] = child.result["val"]["error"]
    winner = min(ranked[:top], key=lambda candidate: errors[candidate.id])
    return _retrain(run, winner, settings, device, test, progress)


def _pick(ranked: Sequence[Candidate], rank: int) -> Candidate:
    if not ranked:
        raise NotFoundError("the run has no candidates yet: rank some with 'smash search'")
    if not 0 <= rank < len(ranked):
        raise NotFoundError(
            f"rank {rank} is not there: ranks go from 0, the best, to {len(ranked) - 1}"
        )
    return ranked[rank]


def _retrain(
    run: Run,
    candidate: Candidate,
    settings: RetrainSettings,
    device: str,
    test: bool,
    progress: Progress,
) -> Child:
    path = run.child_path(child_name(candidate.id, settings))
    if (path / RESULT).is_file():
        raise AlreadyExistsError(
            f"child {path.name!r} was trained already and is kept: see it with "
            f"'smash evaluate {path}', or choose other --epochs or another --seed"
        )
    place = choose_device(device)
    data = run.data.to(place)
    architecture = run.space.from_json(candidate.architecture)
    model = run.space.build(architecture, data.task, str(place))
    if settings.init == "generated":
        model.load_state_dict(Scorer(run.network(place), data).state(architecture))
    else:
        initialise(model, torch_generator(settings.seed, "initial weights"))
    path.mkdir(parents=True, exist_ok=True)
    about = {
        "id": candidate.id,
        "architecture": candidate.architecture,
        "params": candidate.params,
        "macs": candidate.macs,
        "recipe": settings.model_dump(),
        "classes": data.classes,
        "mean": data.mean,
        "std": data.std,
    }
    write_json(path / ARCHITECTURE, about)
    training = _Retraining(path, model, data, settings, place)
    training.go_on(progress)
    model.eval()
    result = {"val": as_json(evaluate(model, data.val, data, "val"))}
    if test:
        result["test"] = as_json(evaluate(model, data.test, data, "test"))
    names = {name: about[name] for name in ("id", "classes", "mean", "std")}
    save_tensors(path / MODEL, model.state_dict(), names)
    write_json(path / RESULT, result)  # last: with it the child is finished
    return Child(path, run, about)


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


class _Retraining:
    """The training of one child; `go_on` begins where the last checkpoint is."""

    def __init__(
        self, path: Any, model: nn.Module, data: Data, settings: RetrainSettings, device: Any
    ) -> None:
        self._model, self._data, self._settings, self._device = model, data, settings, device
        self._checkpoint = Checkpoint(path / _CHECKPOINT)
        self._metrics = MetricsLog(path / _METRICS)
        self._name = path.name
        self._size = min(settings.batch_size, len(data.train))
        self._per_epoch = steps_per_epoch(len(data.train), self._size)
        self._steps = settings.epochs * self._per_epoch
        self._optimizer = torch.optim.SGD(
            model.parameters(),
            lr=settings.learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=settings.weight_decay,
        )

    def go_on(self, progress: Progress) -> None:
        """Trains to the end, a checkpoint an epoch."""
        epoch = 0
        if self._checkpoint.path.exists():
            epoch = self._checkpoint.load(self._model, self._optimizer)["epoch"]
        self._metrics.truncate(epoch * self._per_epoch)
        label = f"retrain {self._name}"
        with hear_interruption() as interruption, progress(label, self._settings.epochs) as advance:
            while epoch < self._settings.epochs:
                train_loss = self._train_epoch(epoch)
                epoch += 1
                self._model.eval()
                scores = evaluate(self._model, self._data.val.first_views, self._data, "val")
                self._record(epoch, train_loss, scores)
                self._checkpoint.save(self._model, self._optimizer, {"epoch": epoch})
                advance(epoch, f"loss {train_loss:.3f}, validation error {scores.error:.1%}")
                if interruption.requested and epoch < self._settings.epochs:
                    raise KeyboardInterrupt

    def _train_epoch(self, epoch: int) -> float:
        self._model.train()
        seed = self._settings.seed
        order = epoch_order(len(self._data.train), seed, epoch)
        loss_sum = torch.zeros((), device=self._device)
        for index in range(self._per_epoch):
            step = epoch * self._per_epoch + index
            rows = order[index * self._size : (index + 1) * self._size]
            batch = training_batch(self._data.train, rows, seed, step)
            images = self._data.augmentation(
                batch.images, torch_generator(seed, "augmentation", step)
            )
            with autocast(self._device):
                logits = self._model(self._data.normalise(images))
                loss = F.cross_entropy(logits.float(), batch.labels)
            for group in self._optimizer.param_groups:
                cosine = 0.5 * (1 + math.cos(math.pi * step / self._steps))
                group["lr"] = self._settings.learning_rate * cosine
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
            loss_sum += loss.detach()
        mean = loss_sum.item() / self._per_epoch
        if not math.isfinite(mean):
            raise DivergedError(
                f"the training loss of child {self._name!r} is {mean} in epoch {epoch}, no longer "
                f"finite: lower --learning-rate (it is {self._settings.learning_rate:g}); "
                "the last checkpoint is kept"
            )
        return mean

    def _record(self, epoch: int, train_loss: float, scores: Evaluation) -> None:
        self._metrics.append(
            {
                "step": epoch * self._per_epoch,
                "epoch": epoch,
                "train_loss": train_loss,
                "val_loss": scores.loss,
                "val_error": scores.error,
            }
        )
