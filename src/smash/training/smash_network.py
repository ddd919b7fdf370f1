"""The training of the SMASH network: draw an architecture and a batch, generate weights, learn.

(Brock et al. 2017, algorithm 1.)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.config import TrainingPlan, TrainingSettings
from smash.data import Data, epoch_order
from smash.evaluation import error_of, predict
from smash.hypernet import SmashNetwork
from smash.profiling.budget import Budget
from smash.profiling.feasible import FeasibleSampler, sampler_within
from smash.profiling.names import COUNTED
from smash.run.run import Run
from smash.runtime.device import autocast
from smash.runtime.distributed import ALONE, Processes
from smash.runtime.rng import generator, seeded
from smash.scoring.scorer import calibration_sample
from smash.training.loop import Trainable, Validation
from smash.training.optim import make_optimizer, scheduled_rate, weighted_loss

_VALIDATED = 16
"""Most architectures in a validation: more would cost more than a few percent of an epoch."""


class SmashTraining(Trainable):
    """The training of a SMASH network.

    Args:
        network: The network to train, on its device.
        data: The data, on that device.
        plan: How it is trained.
        seed: Seed of everything that is drawn.
        processes: The processes that train together; each draws its own architectures and batches.
        sampler: Draws architectures within limits; None draws from the whole space.
    """

    def __init__(
        self,
        network: SmashNetwork,
        data: Data,
        plan: TrainingPlan,
        seed: int,
        processes: Processes = ALONE,
        sampler: FeasibleSampler | None = None,
    ) -> None:
        if plan.fixed_norms:
            network.source.shared.freeze_norms()
        optimizer = make_optimizer(network, plan)
        length = plan.length
        super().__init__("training", plan, data, seed, network, optimizer, length, processes)
        self.network, self.plan, self.sampler = network, plan, sampler
        self._calibration = data.normalise(calibration_sample(data).images)

    def step(self, step: int) -> Tensor:
        """Takes one step of algorithm 1."""
        number = self.batch_number(step)
        architecture = self._draw_architecture(step)
        images, labels = self.draw_batch(step)
        dropout = seeded(self.seed, "dropout", number, self.device)
        with autocast(self.device, self.plan.precision), dropout:
            logits = self.network(architecture, images)  # with weights that it generates
            loss = weighted_loss(logits.float(), labels, self.class_weights)
        rate = scheduled_rate(self.plan, self.length.position(step))
        self.learn(loss, rate, self.plan.clip_norm)
        return loss.detach()

    def _draw_architecture(self, step: int) -> object:
        plan, shared = self.plan, step * self.processes.count
        number = shared if plan.same_architecture else self.batch_number(step)
        rng = generator(self.seed, "training architecture", number)
        if self.sampler is not None:
            return self.sampler.draw(rng)
        progress = self.length.position(step) / self.length.steps if plan.growing else 1.0
        return self.network.space.sample_for_training(rng, progress)

    @torch.no_grad()
    def validate(self, epoch: int) -> Validation:
        """Validates random architectures, each on a part of the examples, as a search scores them.

        BatchNorm statistics come from training examples, never from those that are validated.
        """
        split = getattr(self.data, self.plan.validate_on).first_views
        sums = torch.zeros(3, device=self.device)
        # Shuffled, so that each architecture meets all classes.
        size = max(2 * self.plan.batch_size, -(-len(split) // _VALIDATED))
        order = epoch_order(len(split), 0, 0)
        for index, part in enumerate(order.split(size)):
            if index % self.processes.count != self.processes.rank:
                continue
            rng = generator(self.seed, f"validation architecture of epoch {epoch}", index)
            draw = self.network.space.sample if self.sampler is None else self.sampler.draw
            child, _ = self.network.generate(draw(rng), self._calibration)
            logits = predict(child, split, self.data.normalise, order=part)
            labels = split.labels[part.to(self.device)]
            sums[0] += F.cross_entropy(logits, labels, reduction="sum")
            sums[1] += (logits.argmax(1) != labels).sum()
            sums[2] += error_of(logits, labels, among=5) * len(part)
        loss, error, top5_error = (
            total / len(split) for total in self.processes.sum(sums).tolist()
        )
        return Validation(loss=loss, error=error, top5_error=top5_error)


def budget_of(settings: TrainingSettings) -> Budget:
    """Gives the limits that a SMASH network learns within."""
    return Budget(**{f"max_{name}": getattr(settings, f"max_{name}") for name in COUNTED})


def sampler_of(run: Run) -> FeasibleSampler | None:
    """Makes the sampler of a run's limits, which hold for children as they are shipped."""
    return sampler_within(
        run.space, run.data.task, budget_of(run.settings.training), run.settings.seed
    )
