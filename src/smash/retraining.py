"""Training a child network, from scratch or from generated weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smash.baselines import full_name, make_baseline
from smash.children import (
    ARCHITECTURE,
    MODEL,
    RESULT,
    Child,
    as_json,
    build,
    child_name,
    evaluate,
)
from smash.config import RetrainSettings, refuse_changes
from smash.cost import count_macs, count_parameters
from smash.data import Data, Split, class_weights, epoch_order, training_batch
from smash.device import autocast, choose_device, gradient_scaler
from smash.errors import AlreadyExistsError, DivergedError, InvalidValueError, NotFoundError
from smash.interruption import hear_interruption
from smash.progress import Progress, silent
from smash.randomness import torch_generator
from smash.run import COPIES, Checkpoint, MetricsLog, Run, read_json, save_tensors, write_json
from smash.scoring import Scorer
from smash.study import Candidate, Study
from smash.training_loop import SPLITS, is_due, steps_per_epoch, weighted_loss

_CHECKPOINT = "state.safetensors"
_METRICS = "metrics.jsonl"


def retrain(
    run: Run,
    rank: int = 0,
    *,
    top: int | None = None,
    top_epochs: int | None = None,
    baseline: str | None = None,
    name: str | None = None,
    device: str = "auto",
    test: bool = True,
    progress: Progress = silent,
    **recipe: Any,
) -> Child:
    """Trains a candidate. An unfinished training of the same child is continued.

    Args:
        run: A run with ranked candidates; for a reference network any run, trained or not.
        rank: Which candidate: 0 is the best.
        top: Train this many of the best briefly, keep the one with the lowest validation error,
            and train that fully; `rank` is then not used.
        top_epochs: How long the brief trainings are; a fifth of the full one where None.
        baseline: Train this reference network instead (`make_baseline` says which there are).
        name: Name of the child's folder; its id and what differs from the default recipe if None.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        test: Evaluate on the test split at the end.
        progress: Shows how far it is.
        **recipe: Fields of `RetrainSettings`.

    Raises:
        InvalidValueError: A setting is wrong.
        NotFoundError: There is no candidate of this rank.
        AlreadyExistsError: This child was trained already.
        RunStateError: Another child was begun under this name.
        DivergedError: The loss is no longer finite.
    """
    settings = RetrainSettings(**recipe)
    if baseline is not None:
        about = _about_baseline(run, baseline, settings, top)
        return _retrain(run, about, settings, name, device, test, progress)
    ranked = Study(run.study_path).ranked()
    if top is None:
        about = about_candidate(_pick(ranked, rank))
        return _retrain(run, about, settings, name, device, test, progress)
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
            else _retrain(run, about_candidate(candidate), brief, None, device, False, progress)
        )
        errors[candidate.id] = child.result["val"]["error"]
    winner = min(ranked[:top], key=lambda candidate: errors[candidate.id])
    return _retrain(run, about_candidate(winner), settings, name, device, test, progress)


def about_candidate(candidate: Candidate) -> dict[str, Any]:
    """What is said of a child that is a candidate."""
    return {
        "id": candidate.id,
        "architecture": candidate.architecture,
        "params": candidate.params,
        "macs": candidate.macs,
    }


def _about_baseline(
    run: Run, baseline: str, settings: RetrainSettings, top: int | None
) -> dict[str, Any]:
    faults = []
    if settings.init != "scratch":
        faults.append(
            f"init must be 'scratch' for the reference network {baseline!r}, got "
            f"{settings.init!r}: weights are generated for candidates only"
        )
    if top is not None:
        faults.append(f"top is for candidates, got {top} with baseline {baseline!r}: leave it out")
    if faults:
        raise InvalidValueError(*faults)
    baseline = full_name(baseline)
    network = make_baseline(baseline, run.data.task)
    macs = count_macs(network, run.data.task)
    params = count_parameters(network)
    return {"id": baseline, "baseline": baseline, "params": params, "macs": macs}


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
    about: dict[str, Any],
    settings: RetrainSettings,
    name: str | None,
    device: str,
    test: bool,
    progress: Progress,
) -> Child:
    path = run.child_path(name or child_name(about["id"], settings))
    if (path / RESULT).is_file():
        raise AlreadyExistsError(
            f"child {path.name!r} was trained already and is kept: see it with "
            f"'smash evaluate {path}', or choose other --epochs or another --seed"
        )
    if name and (path / ARCHITECTURE).is_file():
        begun = read_json(path / ARCHITECTURE)
        refuse_changes(
            {"id": begun["id"], **begun["recipe"]},
            {"id": about["id"], **settings.model_dump()},
            since=f"child {name!r} was begun",
            mend="go on as it was begun, or choose another name",
        )
    place = choose_device(device)
    data = run.data.to(place)
    judged = {"val": data.val, "test": data.test} if test else {"val": data.val}
    return train_child(run, path, about, settings, data, judged, place, progress)


def train_child(
    run: Run,
    path: Path,
    about: Mapping[str, Any],
    settings: RetrainSettings,
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
    """
    model = build(run, about, place)
    if settings.init == "generated":
        architecture = run.space.from_json(about["architecture"])
        model.load_state_dict(Scorer(run.network(place), data).state(architecture))
    else:
        initialise(model, torch_generator(settings.seed, "initial weights"))
    path.mkdir(parents=True, exist_ok=True)
    about = {
        **about,
        "recipe": settings.model_dump(),
        "classes": list(data.classes),
        "mean": list(data.mean),
        "std": list(data.std),
    }
    write_json(path / ARCHITECTURE, about)
    training = _Retraining(path, model, data, settings, place)
    training.go_on(progress)
    model.eval()
    result = {name: as_json(evaluate(model, split, data, name)) for name, split in judged.items()}
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
        self,
        path: Path,
        model: nn.Module,
        data: Data,
        settings: RetrainSettings,
        device: torch.device,
    ) -> None:
        self._path = path
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
        self._scaler = gradient_scaler(device, settings.precision)
        self._class_weights = class_weights(data) if settings.class_weights else None

    def go_on(self, progress: Progress) -> None:
        """Trains to the end, a checkpoint an epoch."""
        epoch, settings = 0, self._settings
        if self._checkpoint.path.exists():
            about = self._checkpoint.load(self._model, self._optimizer)
            epoch = about["epoch"]
            self._scaler.load_state_dict(about["scaler"])
        self._metrics.truncate(epoch * self._per_epoch)
        label = f"retrain {self._name}"
        with hear_interruption() as interruption, progress(label, settings.epochs) as advance:
            while epoch < settings.epochs:
                train_loss = self._train_epoch(epoch)
                epoch += 1
                words = self._end_epoch(epoch, train_loss)
                about = {"epoch": epoch, "scaler": self._scaler.state_dict()}
                self._checkpoint.save(self._model, self._optimizer, about)
                advance(epoch, words)
                if interruption.requested and epoch < settings.epochs:
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
            images = batch.images
            if self._settings.augment:
                images = self._data.augmentation(
                    images, torch_generator(seed, "augmentation", step)
                )
            with autocast(self._device, self._settings.precision):
                logits = self._model(self._data.normalise(images))
                loss = weighted_loss(logits.float(), batch.labels, self._class_weights)
            for group in self._optimizer.param_groups:
                cosine = 0.5 * (1 + math.cos(math.pi * step / self._steps))
                group["lr"] = self._settings.learning_rate * cosine
            self._optimizer.zero_grad(set_to_none=True)
            self._scaler.scale(loss).backward()
            self._scaler.step(self._optimizer)
            self._scaler.update()
            loss_sum += loss.detach()
        mean = loss_sum.item() / self._per_epoch
        if not math.isfinite(mean):
            raise DivergedError(
                f"the training loss of child {self._name!r} is {mean} in epoch {epoch}, no longer "
                f"finite: lower --learning-rate (it is {self._settings.learning_rate:g}); "
                "the last checkpoint is kept"
            )
        return mean

    def _end_epoch(self, epoch: int, train_loss: float) -> str:
        """Validates where it is due, writes the epoch's line and says it in a few words."""
        settings = self._settings
        row: dict[str, Any] = {"step": epoch * self._per_epoch, "epoch": epoch}
        row["train_loss"] = train_loss
        words = f"loss {train_loss:.3f}"
        if is_due(settings.validate_every, epoch) or epoch == settings.epochs:
            split = settings.validate_on
            self._model.eval()
            examples = getattr(self._data, split).first_views
            scores = evaluate(self._model, examples, self._data, split)
            row |= {"val_loss": scores.loss, "val_error": scores.error}
            row |= {"val_top5_error": scores.top5_error, "split": split}
            words += f", {SPLITS[split]} error {scores.error:.1%}"
        self._metrics.append(row)
        if is_due(settings.keep_every, epoch):
            copy = self._path / COPIES / f"epoch-{epoch}.safetensors"
            copy.parent.mkdir(exist_ok=True)
            save_tensors(copy, self._model.state_dict(), {"epoch": epoch})
        return words
