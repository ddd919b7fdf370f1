"""The loop that trains a SMASH network: draw an architecture and a batch, generate, learn.

(Brock et al. 2017, algorithm 1.)
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch
import torch.nn.functional as F

from smash.data import Data, batches, class_weights, epoch_order, training_batch
from smash.errors import DivergedError, RunStateError
from smash.evaluation import SPLITS, error_of
from smash.hypernet import SmashNetwork
from smash.run.run import Run
from smash.runtime.device import autocast, gradient_scaler
from smash.runtime.distributed import ALONE, Processes
from smash.runtime.progress import Progress
from smash.runtime.rng import generator, seeded, torch_generator
from smash.runtime.signals import Interruption, Terminated, hear_interruption
from smash.training.loop import _SECONDS_BETWEEN_SAVES, is_due, steps_per_epoch
from smash.training.optim import make_optimizer, scheduled_rate, weighted_loss

_STEPS_BETWEEN_CHECKS = 50  # of the loss: looking at it makes a GPU wait


class TrainingLoop:
    """The training of one run; `go_on` begins where the last checkpoint is.

    Args:
        run: The run, with its data.
        network: The network to train, on its device.
        data: The data, on that device.
        processes: Those that train together; each draws its own architectures and examples.
    """

    def __init__(
        self, run: Run, network: SmashNetwork, data: Data, processes: Processes = ALONE
    ) -> None:
        self.run, self.network, self.data, self.processes = run, network, data, processes
        self.device = next(network.parameters()).device
        self.settings = run.settings.training
        self.seed = run.settings.seed
        self.per_epoch = steps_per_epoch(
            len(data.train), self.settings.batch_size * processes.count
        )
        if self.settings.fixed_norms:
            source: Any = network.source
            source.shared.fix_norms()
        self.optimizer = make_optimizer(network, self.settings)
        self.scaler = gradient_scaler(self.device, self.settings.precision)
        self.class_weights = class_weights(data) if self.settings.class_weights else None
        self.step = 0
        self.validated = 0  # steps after the last epoch that is closed: validated and written down
        self.loss_sum = torch.zeros((), device=self.device)  # of the steps since then
        self.seconds = 0.0

    def go_on(self, progress: Progress) -> None:
        """Trains to the end, or until it is interrupted; keeps the state either way.

        Raises:
            RunStateError: The checkpoint is damaged, or is gone.
        """
        path = self.run.checkpoint.path
        if path.exists():
            self._restore()
        elif len(self.run.metrics.rows()) > 1:  # one line is written before the first checkpoint
            raise RunStateError(
                f"{path} is gone, though {self.run.metrics.path} tells of training: restore it, "
                "or delete that file as well to train anew"
            )
        if self.processes.rank == 0:
            self.run.metrics.truncate(self.validated)
        steps, words = self.settings.steps, ""
        with hear_interruption() as interruption, progress("training", steps) as advance:
            started = time.monotonic() - self.seconds
            saved = time.monotonic()
            while self.step < steps or self.validated < steps:
                if self.validated < self.step and (
                    self.step % self.per_epoch == 0 or self.step == steps
                ):
                    words = self._end_epoch(interruption)
                    self._save()
                    saved = time.monotonic()
                else:
                    self.take_step()
                    self.seconds = time.monotonic() - started
                    if self.step in self.settings.snapshot_steps and self.processes.rank == 0:
                        self.run.keep_snapshot(self.network, self.step)
                    if self.step % _STEPS_BETWEEN_CHECKS == 0:
                        self._check_loss()
                        if self.processes.any(time.monotonic() - saved > _SECONDS_BETWEEN_SAVES):
                            self._save()
                            saved = time.monotonic()
                advance(self.step, words)
                if self.processes.any(interruption.requested):
                    self._check_loss()
                    self._save()
                    interruption.stop()
        if self.processes.rank == 0:
            self.run.save_network(self.network)

    def take_step(self) -> None:
        """Draws an architecture and a batch, and learns."""
        processes, settings = self.processes, self.settings
        epoch, index = divmod(self.step, self.per_epoch)
        place = index * processes.count + processes.rank
        number = self.step * processes.count + processes.rank
        train = self.data.train
        order = epoch_order(len(train), self.seed, epoch, train.stored.device)
        rows = order[place * settings.batch_size : (place + 1) * settings.batch_size]
        batch = training_batch(train, rows, self.seed, number)
        images = batch.images
        if settings.augment:
            images = self.data.augmentation(
                images, torch_generator(self.seed, "augmentation", number)
            )
        drawn = self.step * processes.count if settings.same_architecture else number
        rng = generator(self.seed, "training architecture", drawn)
        progress = self.step / settings.steps if settings.growing else 1.0
        architecture = self.network.space.sample_for_training(rng, progress)
        dropping = seeded(self.seed, "dropout", number, self.device)
        with autocast(self.device, settings.precision), dropping:
            logits = self.network(architecture, self.data.normalise(images))
            loss = weighted_loss(logits.float(), batch.labels, self.class_weights)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        processes.average_gradients(self.network.parameters())
        for group in self.optimizer.param_groups:
            group["lr"] = scheduled_rate(settings, self.step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.loss_sum += loss.detach()
        self.step += 1

    def _end_epoch(self, interruption: Interruption) -> str:
        """Validates where it is due, writes the epoch's line and says it in a few words."""
        self._check_loss()
        settings = self.settings
        train_loss = self._loss_of_all() / ((self.step - self.validated) * self.processes.count)
        epoch = math.ceil(self.step / self.per_epoch)
        row: dict[str, Any] = {"step": self.step, "epoch": epoch, "train_loss": train_loss}
        words = f"loss {train_loss:.3f}"
        if is_due(settings.validate_every, epoch) or self.step == settings.steps:
            loss, error, top5_error = self._validate(epoch, interruption)
            row |= {"val_loss": loss, "val_error": error, "val_top5_error": top5_error}
            row["split"] = settings.validate_on
            words += f", {SPLITS[settings.validate_on]} error {error:.1%} (random architectures)"
        if self.processes.rank == 0:
            self.run.metrics.append({**row, "seconds": round(self.seconds, 3)})
            if is_due(settings.keep_every, epoch):
                self.run.keep_copy(self.network, epoch)
        self.loss_sum.zero_()
        self.validated = self.step
        return words

    def _validate(self, epoch: int, interruption: Interruption) -> tuple[float, float, float]:
        """Validates; it takes long and changes nothing, so an interruption need not wait for it."""
        if self.processes.count > 1:  # the others would wait for this one for ever
            return self.validate(epoch)
        try:
            with interruption.at_once():
                return self.validate(epoch)
        except (KeyboardInterrupt, Terminated):
            self._save()
            raise

    @torch.no_grad()
    def validate(self, epoch: int) -> tuple[float, float, float]:
        """Loss, error and top-5 error in validation, each batch with a random architecture."""
        split = getattr(self.data, self.settings.validate_on).first_views
        sums = torch.zeros(3, device=self.device)
        # Shuffled: a batch of one class would have that class's statistics.
        order = epoch_order(len(split), 0, 0)
        size = 2 * self.settings.batch_size
        for index, batch in enumerate(batches(split, size, order)):
            if index % self.processes.count != self.processes.rank:
                continue
            rng = generator(self.seed, f"validation architecture of epoch {epoch}", index)
            logits = self.network(self.network.space.sample(rng), self.data.normalise(batch.images))
            sums[0] += F.cross_entropy(logits, batch.labels, reduction="sum")
            sums[1] += (logits.argmax(1) != batch.labels).sum()
            sums[2] += error_of(logits, batch.labels, among=5) * len(batch)
        loss, wrong, wrong_of_five = self.processes.sum(sums).tolist()
        return loss / len(split), wrong / len(split), wrong_of_five / len(split)

    def _loss_of_all(self) -> float:
        return self.processes.sum(self.loss_sum).item()

    def _check_loss(self) -> None:
        loss = self._loss_of_all()
        if not math.isfinite(loss):
            raise DivergedError(
                f"the training loss is {loss} at step {self.step}, no longer finite: lower "
                f"--learning-rate (it is {self.settings.learning_rate:g}); "
                "the last checkpoint is kept"
            )

    def _save(self) -> None:
        about = {
            "step": self.step,
            "validated": self.validated,
            "loss_sums": self.processes.gather(self.loss_sum.item()),
            "seconds": self.seconds,
            "scaler": self.scaler.state_dict(),
        }
        if self.processes.rank == 0:
            self.run.checkpoint.save(self.network, self.optimizer, about)

    def _restore(self) -> None:
        path, number = self.run.checkpoint.path, (int, float)
        kinds = {"step": int, "loss_sums": list, "seconds": number, "scaler": dict}
        about = self.run.checkpoint.load(self.network, self.optimizer, **kinds)
        self.step, self.seconds = about["step"], about["seconds"]
        closed = self.step - self.step % self.per_epoch
        self.validated = about.get("validated", closed)  # not in those of the first versions
        sums = about["loss_sums"]
        if not 0 <= self.validated <= self.step <= self.settings.steps or len(sums) != (
            self.processes.count
        ):
            raise RunStateError(f"{path} does not fit this run: it is at step {self.step}")
        self.loss_sum.fill_(sums[self.processes.rank])
        self.scaler.load_state_dict(about["scaler"])
