"""The resumable training loop, under the SMASH network and under child networks.

It owns epochs, checkpoints, signals, metrics, progress, early stopping and several processes. What
is trained is a `Trainable`, which says what a step and a validation are.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from smash.config import Count, Length, LoopSettings, NotNegative
from smash.data import Data, class_weights, epoch_order, training_batch
from smash.errors import DivergedError, RunStateError
from smash.evaluation import SPLITS
from smash.io.files import make_folder
from smash.io.records import Record
from smash.io.tensors import load_tensors, save_tensors
from smash.run.checkpoint import Checkpoint
from smash.run.layout import BEST, CHECKPOINT, COPIES, SNAPSHOTS, copy_path
from smash.run.metrics_log import MetricsLog
from smash.runtime.device import gradient_scaler
from smash.runtime.distributed import ALONE, Processes
from smash.runtime.progress import Progress
from smash.runtime.rng import torch_generator
from smash.runtime.signals import Interruption, Terminated, hear_interruption
from smash.training.optim import clip_gradients

if TYPE_CHECKING:
    from smash.training.timing import Deadline

_SECONDS_BETWEEN_SAVES = 300.0
_STEPS_BETWEEN_CHECKS = 50  # Reading the loss synchronises with the GPU, so do it rarely.


def is_due(every: int | None, epoch: int) -> bool:
    """Tells whether something done every so many epochs is due after this one; never if None, 0."""
    return every is not None and every > 0 and epoch % every == 0


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Counts the whole batches of an epoch, at least 1; a smaller last batch is left out."""
    return max(1, examples // batch_size)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The result of a validation.

    Attributes:
        loss: Mean cross-entropy, in nats.
        error: Share classified wrongly, 0…1.
        top5_error: Share whose class is not among the five most likely, 0…1.
    """

    loss: float
    error: float
    top5_error: float


class Trainable(ABC):
    """Something that `TrainingLoop` trains.

    The loop restores `trained` and `optimizer` from the checkpoint, if there is one. Then it calls
    `step` with 0, 1, 2, … (or from the step of the checkpoint on) and, after the last step of an
    epoch in which a validation is due, `validate`. After that it saves a checkpoint. A step depends
    on its number, its position in `length`, and on `trained` and `optimizer` alone, so that a
    resumed training repeats it.

    Attributes:
        label: Names the training in progress and messages.
        settings: How it is trained.
        data: The data, on the device of the networks.
        seed: Seed of everything that is drawn.
        trained: The networks, all that a checkpoint holds of them.
        optimizer: Their optimiser.
        length: Its steps; the loop revises it to keep to a time.
        processes: The processes that train together; each calls `step` with batches of its own.

    Example:
        >>> class LinearTraining(Trainable):
        ...     def step(self, step):
        ...         images, labels = self.draw_batch(step)
        ...         loss = nn.functional.cross_entropy(self.trained(images.flatten(1)), labels)
        ...         self.learn(loss, learning_rate=0.1)
        ...         return loss.detach()
        ...
        ...     def validate(self, epoch):
        ...         return Validation(loss=0.0, error=0.0, top5_error=0.0)
        >>> from smash import load_data
        >>> model = nn.Linear(64, 10)
        >>> optimizer = torch.optim.SGD(model.parameters())
        >>> settings = LoopSettings(learning_rate=0.1)
        >>> length = Length(steps=10)
        >>> training = LinearTraining(
        ...     "linear", settings, load_data("digits"), 0, model, optimizer, length
        ... )
        >>> training.step(0).shape
        torch.Size([])
    """

    def __init__(
        self,
        label: str,
        settings: LoopSettings,
        data: Data,
        seed: int,
        trained: nn.Module,
        optimizer: torch.optim.Optimizer,
        length: Length,
        processes: Processes = ALONE,
    ) -> None:
        self.label, self.settings, self.data, self.seed = label, settings, data, seed
        self.trained, self.optimizer = trained, optimizer
        self.length, self.processes = length, processes
        self.device = next(trained.parameters()).device
        self.scaler = gradient_scaler(self.device, settings.precision)
        self.class_weights = class_weights(data) if settings.class_weights else None
        self.per_epoch = steps_per_epoch(len(data.train), settings.batch_size * processes.count)

    @abstractmethod
    def step(self, step: int) -> Tensor:
        """Learns from one batch.

        Returns:
            The loss, a scalar without gradient; reading it would synchronise with the GPU.
        """

    @abstractmethod
    def validate(self, epoch: int) -> Validation:
        """Validates after an epoch, counted from 1, on `settings.validate_on`."""

    @property
    def kept(self) -> nn.Module:
        """The network that copies and the best weights are of."""
        return self.trained

    def draw_batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Draws the training batch of this process.

        Returns:
            Normalised images, n×channels×spatial, and labels, shape (n,).
        """
        epoch, index = divmod(step, self.per_epoch)
        train, size = self.data.train, self.settings.batch_size
        order = epoch_order(len(train), self.seed, epoch, train.stored.device)
        start = (index * self.processes.count + self.processes.rank) * size
        number = self.batch_number(step)
        batch = training_batch(train, order[start : start + size], self.seed, number)
        images = batch.images
        if self.settings.augment:
            images = self.data.augmentation(
                images, torch_generator(self.seed, "augmentation", number)
            )
        return self.data.normalise(images), batch.labels

    def batch_number(self, step: int) -> int:
        """Numbers the batches of all processes and steps, as seeds of what is drawn for them."""
        return step * self.processes.count + self.processes.rank

    def learn(self, loss: Tensor, learning_rate: float, clip_norm: float | None = None) -> None:
        """Takes a step of the optimiser down the gradient of a loss, of at most this norm."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.processes.average_gradients(self.trained.parameters())
        if clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            clip_gradients(self.optimizer, clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.scaler.step(self.optimizer)
        self.scaler.update()


class Best(Record):
    """The epoch with the lowest validation error, and of equal ones the lowest loss."""

    epoch: Count
    error: NotNegative
    loss: NotNegative


class LoopState(Record):
    """The state of a loop, in its checkpoint."""

    step: int
    """Steps that were taken."""

    closed: int
    """Steps up to the end of the last epoch that was validated and logged."""

    loss_sums: list[float]
    """Sum of the losses since then, of each process."""

    seconds: NotNegative
    """Duration of the training so far."""

    validation: NotNegative = 0.0
    """Duration of the last validation, in seconds, where the training keeps to a time."""

    scaler: dict[str, Any]
    """State of the gradient scaler."""

    best: Best | None = None
    """The best epoch so far, with `patience`."""


class TrainingLoop:
    """Trains to the end, from where the last checkpoint left off.

    Args:
        trainable: What is trained.
        path: The folder of the checkpoint and of copies.
        metrics: The training curves.
        snapshots: Number of networks of the second half that are kept, with the last one.
        patience: Epochs without a lower validation error after which training stops and the best
            weights are restored; None trains to the end.
        deadline: Revises the length so that the training ends on time; None leaves it as it is.

    Example:
        >>> from smash import load_data
        >>> from smash.config import ChildSettings
        >>> from smash.runtime.progress import silent
        >>> from smash.training.child import ChildTraining
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> training = ChildTraining("linear", model, load_data("digits"), ChildSettings(epochs=1))
        >>> log = MetricsLog(Path("metrics.jsonl"))
        >>> TrainingLoop(training, Path("."), log).run(silent)
        >>> len(Path("metrics.jsonl").read_text().splitlines())
        1
    """

    def __init__(
        self,
        trainable: Trainable,
        path: Path,
        metrics: MetricsLog,
        snapshots: int = 1,
        patience: int | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self._trainable, self._path, self._metrics = trainable, path, metrics
        self._snapshots, self._patience, self._deadline = snapshots, patience, deadline
        self._snapshot_steps = trainable.length.snapshot_steps(snapshots)
        self._processes, self._settings = trainable.processes, trainable.settings
        self._checkpoint = Checkpoint(path / CHECKPOINT)
        self._writes = self._processes.rank == 0
        self._step = self._closed = 0
        self._loss_sum = torch.zeros((), device=trainable.device)  # of the steps since `_closed`
        self._seconds = deadline.spent if deadline else 0.0
        self._best: Best | None = None

    def run(self, progress: Progress) -> None:
        """Trains to the end or until a signal comes, and saves the state in either case.

        Raises:
            DivergedError: The loss is no longer finite.
            RunStateError: The checkpoint, or the best weights, are damaged or missing.
        """
        self._restore()
        if self._writes:
            self._metrics.truncate(self._closed)
        words, label = "", self._trainable.label
        with hear_interruption() as interruption, progress(label, self._length.steps) as advance:
            saved = time.monotonic()
            started = saved - self._seconds
            if self._deadline:
                self._deadline.restart(self._seconds, self._step)
            while self._closed < self._length.total and not self._patience_is_over():
                if self._closed < self._step and self._ends_epoch(self._step):
                    words = self._close_epoch(interruption)
                    self._save()
                    saved = time.monotonic()
                else:
                    self._take_step()
                    self._seconds = time.monotonic() - started
                    if self._deadline:
                        self._keep_to(self._deadline)
                advance(round(self._length.position(self._step)), words)
                stops = interruption.requested
                is_late = time.monotonic() - saved > _SECONDS_BETWEEN_SAVES
                if self._processes.any(stops or is_late):
                    self._check_loss()
                    self._save()
                    saved = time.monotonic()
                    if self._processes.any(stops):
                        interruption.stop()
        if self._deadline and self._length.revised_at < self._step:
            self._revise(self._length.revised(self._step, self._step))
        if self._patience is not None:
            self._load_best()

    @property
    def _length(self) -> Length:
        return self._trainable.length

    def _ends_epoch(self, step: int) -> bool:
        return step % self._trainable.per_epoch == 0 or step == self._length.total

    def _keep_to(self, deadline: Deadline) -> None:
        """Revises the length where the time asks for it; process 0 decides."""
        length, seconds, step = self._length, self._seconds, self._step
        if not self._processes.any(self._writes and deadline.is_due(seconds, length, step)):
            return
        apart = self._trainable.per_epoch * (self._settings.validate_every or math.inf)
        revised = self._processes.first(lambda: deadline.revise(seconds, length, step, apart))
        if revised != length:
            self._revise(revised)

    def _revise(self, length: Length) -> None:
        if self._deadline:
            self._deadline.record(length)  # first, so that a resumed training follows it
        self._trainable.length = length
        self._snapshot_steps = length.snapshot_steps(self._snapshots)

    def _take_step(self) -> None:
        self._loss_sum += self._trainable.step(self._step)
        self._step += 1
        if self._step in self._snapshot_steps:
            self._keep(SNAPSHOTS, "step", self._step)
        if self._step % _STEPS_BETWEEN_CHECKS == 0:
            self._check_loss()

    def _close_epoch(self, interruption: Interruption) -> str:
        """Validates where it is due, logs the epoch and describes it in a few words."""
        self._check_loss()
        epoch = math.ceil(self._step / self._trainable.per_epoch)
        steps = (self._step - self._closed) * self._processes.count
        train_loss = self._total_loss() / steps
        row: dict[str, Any] = {"step": self._step, "epoch": epoch, "train_loss": train_loss}
        words = f"loss {train_loss:.3f}"
        if is_due(self._settings.validate_every, epoch) or self._step == self._length.total:
            found = self._validate(epoch, interruption)
            split = self._settings.validate_on
            self._check_finite(found.loss, SPLITS[split])  # the last step may have ruined it
            row |= {f"val_{name}": value for name, value in asdict(found).items()}
            row["split"] = split
            words += f", {SPLITS[split]} error {found.error:.1%}"
            self._remember(epoch, found)
        if self._writes:
            self._metrics.append({**row, "seconds": round(self._seconds, 3)})
        if is_due(self._settings.keep_every, epoch):
            self._keep(COPIES, "epoch", epoch)
        self._loss_sum.zero_()
        self._closed = self._step
        return words

    def _validate(self, epoch: int, interruption: Interruption) -> Validation:
        begun = time.monotonic()
        found = self._validate_or_save(epoch, interruption)
        if self._deadline:
            self._deadline.take_validation(time.monotonic() - begun)
        return found

    def _validate_or_save(self, epoch: int, interruption: Interruption) -> Validation:
        if self._processes.count > 1:  # the others would wait for this process for ever
            return self._trainable.validate(epoch)
        try:
            with interruption.at_once():  # a validation is long and changes nothing
                return self._trainable.validate(epoch)
        except (KeyboardInterrupt, Terminated):
            self._save()
            raise

    def _keep(self, folder: str, kind: str, number: int) -> None:
        if self._writes:
            path = copy_path(self._path / folder, kind, number)
            make_folder(path.parent)
            save_tensors(path, self._trainable.kept.state_dict(), {kind: number})

    def _remember(self, epoch: int, found: Validation) -> None:
        """Keeps the weights if no epoch before was better."""
        best = self._best
        if self._patience is None or (
            best and (found.error, found.loss) >= (best.error, best.loss)
        ):
            return
        self._best = Best(epoch=epoch, error=found.error, loss=found.loss)
        # Before the checkpoint: killed in between, the same epoch writes the same weights again.
        state = self._trainable.kept.state_dict()
        save_tensors(self._path / BEST, state, self._best.model_dump())

    def _patience_is_over(self) -> bool:
        if self._patience is None or self._best is None:
            return False
        return self._closed // self._trainable.per_epoch - self._best.epoch >= self._patience

    def _load_best(self) -> None:
        path = self._path / BEST
        tensors, about = load_tensors(path)
        if self._best is None or Best.parse(about, path) != self._best:
            raise RunStateError(
                f"{path} does not fit its child: delete the folder {str(self._path)!r}, and train "
                "it again"
            )
        self._trainable.kept.load_state_dict(tensors)

    def _total_loss(self) -> float:
        return self._processes.sum(self._loss_sum).item()

    def _check_loss(self) -> None:
        self._check_finite(self._total_loss(), "training")

    def _check_finite(self, loss: float, split: str) -> None:
        if not math.isfinite(loss):
            raise DivergedError(
                f"{self._trainable.label}: the {split} loss is {loss} at step {self._step}, no "
                f"longer finite: lower --learning-rate (it is {self._settings.learning_rate:g}); "
                "the last checkpoint is kept"
            )

    def _save(self) -> None:
        state = LoopState(
            step=self._step,
            closed=self._closed,
            loss_sums=self._processes.gather(self._loss_sum.item()),
            seconds=self._seconds,
            validation=self._deadline.validation if self._deadline else 0.0,
            scaler=self._trainable.scaler.state_dict(),
            best=self._best,
        )
        if self._writes:
            trainable = self._trainable
            self._checkpoint.save(trainable.trained, trainable.optimizer, state.model_dump())

    def _restore(self) -> None:
        path = self._checkpoint.path
        if not path.exists():
            if len(self._metrics.rows()) > 1:  # one line is written before the first checkpoint
                raise RunStateError(
                    f"{path} is missing, but {self._metrics.path} records its training: restore "
                    f"it, or delete {self._metrics.path} as well to start over"
                )
            return
        trainable = self._trainable
        state = LoopState.parse(self._checkpoint.load(trainable.trained, trainable.optimizer), path)
        if not 0 <= state.closed <= state.step <= self._length.total or len(state.loss_sums) != (
            self._processes.count
        ):
            raise RunStateError(f"{path} does not fit this training: it is at step {state.step}")
        self._step, self._closed, self._seconds = state.step, state.closed, state.seconds
        self._loss_sum.fill_(state.loss_sums[self._processes.rank])
        self._best = state.best
        if self._deadline:
            self._deadline.validation = state.validation
        trainable.scaler.load_state_dict(state.scaler)
