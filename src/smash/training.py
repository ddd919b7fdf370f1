"""Training a SMASH network: every step draws an architecture, generates its weights, learns.

(Brock et al. 2017, algorithm 1.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from smash.config import RunSettings, SpaceSettings, TrainingSettings, refuse_changes
from smash.cost import survey
from smash.data import Data, batches, epoch_order
from smash.device import autocast, choose_device
from smash.errors import DivergedError, InvalidValueError, RunStateError, unknown
from smash.interruption import hear_interruption
from smash.progress import Progress, silent
from smash.randomness import generator, torch_generator
from smash.run import Run, check_free
from smash.weights import SmashNetwork

_FAST: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1}
RECIPES: dict[str, dict[str, Any]] = {"small": _FAST, "tiny": _FAST}
"""Settings of training that differ from the published ones, by preset.

SGD trained faster than Adam in short single runs on small images; which ranks better is open.
"""

_EPOCHS = 100
_TIMED_STEPS = 24
_TIMED_SHARE = 0.05  # of the minutes asked for, at most, goes into timing
_STEPS_BETWEEN_CHECKS = 50  # of the loss: looking at it makes a GPU wait


def train(
    data: Data | None,
    out: str | Path,
    *,
    epochs: int | None = None,
    minutes: float | None = None,
    preset: str | None = None,
    options: Mapping[str, Any] | None = None,
    hypernet: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    resume: bool = False,
    progress: Progress = silent,
    announce: Callable[[list[str]], None] = lambda lines: None,
    **recipe: Any,
) -> Run:
    """Trains a SMASH network. What is not given is the default, or as before with `resume`.

    Args:
        data: What `load_data` gave; with `resume`, None takes the data that the run was made with.
        out: The run folder to make.
        epochs: Passes over the training split; 100 where `minutes` is not given either.
        minutes: Time to train for. The number of steps is fixed by timing a few before the first,
            so that the run can be repeated and resumed.
        preset: Options of the space by name; the largest that suits data and device.
        options: Options of the space that differ from the preset's.
        hypernet: Where the weights of children come from; ``convolutional``.
        seed: Seed of everything that is drawn; 0.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        resume: Go on with an unfinished run instead of making one; a finished one stays as it is.
        progress: Shows how far it is.
        announce: Called once, before training, with lines on what was chosen.
        **recipe: Fields of `TrainingSettings`.

    Returns:
        The run; `search` takes it.

    Raises:
        InvalidValueError: A setting is wrong.
        AlreadyExistsError: The folder is there and `resume` was not asked for.
        RunStateError: The run to resume is damaged or was made with other data or settings.
        DivergedError: The loss is no longer finite.
    """
    out = Path(out)
    _check_length(epochs, minutes)
    given = {"seed": seed, "hypernet": hypernet, "preset": preset, "options": options, **recipe}
    if device is not None:
        given["device"] = str(choose_device(device))
    if minutes is not None:
        given["minutes"] = minutes
    given = {name: value for name, value in given.items() if value is not None}
    if resume:
        run = Run.open(out)
        data = run.data if data is None else data
        if epochs is not None:
            size = given.get("batch_size", run.settings.training.batch_size)
            given["steps"] = epochs * steps_per_epoch(len(data.train), size)
        _refuse_changes(run, data, given)
    else:
        if data is None:
            raise InvalidValueError("data must be given, unless a run is resumed")
        check_free(out)
        run = Run(out, _settings(data, given, epochs))
    run.data = data
    if run.trained:
        return run
    network = run.new_network()  # before the folder: a wrong option leaves none behind
    if not resume:
        run.create()
    announce(_choices(run))
    place = choose_device(run.settings.device)
    _Training(run, network.to(place), data.to(place), place).go_on(progress)
    return run


def _choices(run: Run) -> list[str]:
    """What was chosen, and how large the children of the space are."""
    settings, lines = run.settings, []
    training = settings.training
    epochs = training.steps / steps_per_epoch(len(run.data.train), training.batch_size)
    lines.append(
        f"preset {settings.space.preset}, {training.steps:,} steps of {training.batch_size} "
        f"({epochs:.3g} epochs) on {settings.device}"
    )
    if epochs < 1:
        lines.append(
            f"{training.steps:,} steps are less than one epoch: more --minutes, or a machine that "
            "does nothing else, would rank better"
        )
    costs = survey(run.space, run.data.task)
    smallest, median, largest = costs[0], costs[len(costs) // 2], costs[-1]
    sizes = " / ".join(f"{cost.params:,}" for cost in (smallest, median, largest))
    line = f"nominal budget: children of {sizes} parameters (smallest / median / largest of 200)"
    if (reference := run.space.reference()) is not None:
        line += f", {reference[0]} without classifier {reference[1]:,}"
    return [*lines, line]


def _check_length(epochs: int | None, minutes: float | None) -> None:
    faults = []
    if epochs is not None and minutes is not None:
        faults.append(f"epochs ({epochs}) and minutes ({minutes:g}) exclude each other: give one")
    if epochs is not None and epochs < 1:
        faults.append(f"epochs must be at least 1, got {epochs}")
    if minutes is not None and not 0 < minutes < math.inf:
        faults.append(f"minutes must be more than 0, got {minutes:g}")
    if faults:
        raise InvalidValueError(*faults)


def _settings(data: Data, given: Mapping[str, Any], epochs: int | None) -> RunSettings:
    """Puts what was given over the defaults, and fixes the number of steps."""
    device = given.get("device") or str(choose_device())
    preset = given.get("preset") or suitable_preset(data.task.size, device)
    recipe = {name: given[name] for name in TrainingSettings.model_fields if name in given}
    unknown_names = set(given) - set(recipe) - {"seed", "hypernet", "preset", "options", "device"}
    if unknown_names:
        fields = TrainingSettings.model_fields
        raise InvalidValueError(*(unknown("setting", name, fields) for name in unknown_names))
    training = TrainingSettings(**{"steps": 1, **RECIPES.get(preset, {}), **recipe})
    settings = RunSettings(
        seed=given.get("seed", 0),
        device=device,
        hypernet=given.get("hypernet", "convolutional"),
        data=data.settings,
        space=SpaceSettings(preset=preset, options=dict(given.get("options", {}))),
        training=training,
    )
    if training.minutes is not None:
        steps = _steps_in(training.minutes, settings, data)
    else:
        steps = (epochs or _EPOCHS) * steps_per_epoch(len(data.train), training.batch_size)
    return settings.replaced(training=training.replaced(steps=steps))


def _steps_in(minutes: float, settings: RunSettings, data: Data) -> int:
    """How many steps fit in `minutes`, timed on a scratch network over the whole of training.

    Architectures grow while training goes on, so the first steps alone would promise too much:
    the timed ones are spread over all of it, and go out from its middle, so that they stay spread
    where there is time for a few only.
    """
    device = torch.device(settings.device)
    started = time.monotonic()
    run = Run(Path(), settings.replaced(training=settings.training.replaced(steps=_TIMED_STEPS)))
    run.data = data
    trial = _Training(run, run.new_network().to(device), data.to(device), device)
    trial.take_step()  # the first is slower than all that follow
    trial.step = 0
    middle_out = sorted(range(_TIMED_STEPS), key=lambda step: abs(2 * step + 1 - _TIMED_STEPS))
    begun, timed = time.monotonic(), 0
    for step in middle_out:
        trial.step = step
        trial.take_step()
        timed += 1
        if timed % 2 == 0 and time.monotonic() - begun > _TIMED_SHARE * 60 * minutes:
            break
    seconds = (time.monotonic() - begun) / timed
    begun = time.monotonic()
    trial.validate(epoch=1)
    per_epoch = steps_per_epoch(len(data.train), settings.training.batch_size)
    seconds += (time.monotonic() - begun) / per_epoch
    left = 60 * minutes - (time.monotonic() - started)
    return max(1, int(left / seconds))


def _refuse_changes(run: Run, data: Data, given: Mapping[str, Any]) -> None:
    before = run.settings
    if data.settings.fingerprint != before.data.fingerprint:
        raise RunStateError(
            f"run {str(run.path)!r} was made with other data ({before.data.source!r}, or other "
            "splits): resume with the data and the data options it was made with"
        )
    values = {
        **before.training.model_dump(),
        **before.space.model_dump(),
        **before.model_dump(include={"seed", "hypernet", "device"}),
    }
    refuse_changes(
        values,
        given,
        since=f"run {str(run.path)!r} was made",
        mend="leave it out to resume, or choose another --out",
    )


def suitable_preset(size: tuple[int, ...], device: str) -> str:
    """The largest preset that suits inputs of this size on this device."""
    if max(size) <= 12:
        return "tiny"
    return "v2" if device == "cuda" else "small"


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Whole batches in an epoch; a last one that is smaller is left out, at least one is there."""
    return max(1, examples // batch_size)


class _Training:
    """The training of one run; `go_on` begins where the last checkpoint is."""

    def __init__(self, run: Run, network: SmashNetwork, data: Data, device: torch.device) -> None:
        self.run, self.network, self.data, self.device = run, network, data, device
        self.settings = run.settings.training
        self.seed = run.settings.seed
        self.per_epoch = steps_per_epoch(len(data.train), self.settings.batch_size)
        self.optimizer = make_optimizer(network, self.settings)
        self.step = 0
        self.loss_sum = torch.zeros((), device=device)  # of this epoch's steps so far
        self.seconds = 0.0

    def go_on(self, progress: Progress) -> None:
        """Trains to the end, or until it is interrupted; keeps the state either way."""
        if self.run.checkpoint.path.exists():
            self._restore()
        self.run.metrics.truncate(self.step)
        steps, words = self.settings.steps, ""
        with hear_interruption() as interruption, progress("training", steps) as advance:
            started = time.monotonic() - self.seconds
            while self.step < steps:
                self.take_step()
                self.seconds = time.monotonic() - started
                if self.step % self.per_epoch == 0 or self.step == steps:
                    words = self._end_epoch()
                    self._save()
                elif self.step % _STEPS_BETWEEN_CHECKS == 0:
                    self._check_loss()
                advance(self.step, words)
                if interruption.requested:
                    self._check_loss()
                    self._save()
                    raise KeyboardInterrupt
        self.run.save_network(self.network)

    def take_step(self) -> None:
        """Draws an architecture and a batch, and learns."""
        epoch, index = divmod(self.step, self.per_epoch)
        size = self.settings.batch_size
        order = epoch_order(len(self.data.train), self.seed, epoch)
        batch = self.data.train.subset(order[index * size : (index + 1) * size])
        images = self.data.augmentation(
            batch.images, torch_generator(self.seed, "augmentation", self.step)
        )
        rng = generator(self.seed, "training architecture", self.step)
        architecture = self.network.space.sample(rng, self.step / self.settings.steps)
        with autocast(self.device):
            logits = self.network(architecture, self.data.normalise(images))
            loss = F.cross_entropy(logits.float(), batch.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, self.step)
        self.optimizer.step()
        self.loss_sum += loss.detach()
        self.step += 1

    def _end_epoch(self) -> str:
        """Validates, writes the epoch's line and says it in a few words."""
        self._check_loss()
        steps = (self.step - 1) % self.per_epoch + 1
        train_loss = self.loss_sum.item() / steps
        self.loss_sum.zero_()
        epoch = math.ceil(self.step / self.per_epoch)
        val_loss, val_error = self.validate(epoch)
        self.run.metrics.append(
            {
                "step": self.step,
                "epoch": epoch,
                "train_loss": train_loss,
                "val_loss": val_loss,
                "val_error": val_error,
                "seconds": round(self.seconds, 3),
            }
        )
        return f"loss {train_loss:.3f}, validation error {val_error:.1%} (random architectures)"

    @torch.no_grad()
    def validate(self, epoch: int) -> tuple[float, float]:
        """Loss and error on the validation split, each batch with a random architecture."""
        loss_sum = torch.zeros((), device=self.device)
        wrong = torch.zeros((), device=self.device)
        # Shuffled: a batch of one class would have that class's statistics.
        order = epoch_order(len(self.data.val), 0, 0)
        size = 2 * self.settings.batch_size
        for index, batch in enumerate(batches(self.data.val, size, order)):
            rng = generator(self.seed, f"validation architecture of epoch {epoch}", index)
            logits = self.network(self.network.space.sample(rng), self.data.normalise(batch.images))
            loss_sum += F.cross_entropy(logits, batch.labels, reduction="sum")
            wrong += (logits.argmax(1) != batch.labels).sum()
        examples = len(self.data.val)
        return loss_sum.item() / examples, wrong.item() / examples

    def _check_loss(self) -> None:
        if not torch.isfinite(self.loss_sum):
            raise DivergedError(
                f"the training loss is {self.loss_sum.item()} at step {self.step}, no longer "
                f"finite: lower --learning-rate (it is {self.settings.learning_rate:g}); "
                "the last checkpoint is kept"
            )

    def _save(self) -> None:
        about = {"step": self.step, "loss_sum": self.loss_sum.item(), "seconds": self.seconds}
        self.run.checkpoint.save(self.network, self.optimizer, about)

    def _restore(self) -> None:
        about = self.run.checkpoint.load(self.network, self.optimizer)
        self.step, self.seconds = about["step"], about["seconds"]
        self.loss_sum.fill_(about["loss_sum"])


def make_optimizer(network: SmashNetwork, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Makes the optimiser, which decays all weights but the hypernetwork's."""
    hypernetwork = [p for name, p in network.named_parameters() if "hypernetwork" in name]
    shared = [p for name, p in network.named_parameters() if "hypernetwork" not in name]
    groups = [
        {"params": shared, "weight_decay": settings.weight_decay},
        {"params": hypernetwork, "weight_decay": 0.0},
    ]
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=settings.learning_rate, betas=(0.5, 0.999), eps=1e-4)
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.9, nesterov=True)


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
