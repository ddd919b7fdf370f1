"""The SMASH score: validation error and loss of an architecture with generated weights.

BatchNorm statistics are computed for the architecture, on a fixed sample of training examples. Then
the child is evaluated with weights and statistics fixed. So a score is repeatable, and depends
neither on what was scored before nor on the batch size.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.data import Data, Split, normalise
from smash.evaluation import error_of, misses, predict
from smash.hypernet import SmashNetwork
from smash.hypernet.smash_network import State
from smash.runtime.device import autocast
from smash.runtime.memory import release_memory
from smash.runtime.names import Precision
from smash.runtime.rng import torch_generator
from smash.scoring.score import BATCH_SIZE, SCORED_EXAMPLES, RankBy, Score
from smash.spaces.layers import channels_last

CALIBRATION_EXAMPLES = 250
_FIRST_RUNG = 100
_FEWEST_TO_RACE = 500  # examples; of fewer, rungs would be too small to tell candidates apart
_KEPT = 100  # children after which what they freed is returned, whatever it is
_WORST_LOSS = 1e30  # nats, for predictions that are not finite; JSON has no infinity


def rung_ends(examples: int) -> list[int]:
    """Computes the number of examples seen after each rung: doubling, and all at the end.

    The last rung but one ends at four fifths at most, so that it can save something.

    Args:
        examples: The number of all examples; few are one rung.
    """
    if examples < _FEWEST_TO_RACE:
        return [examples]
    ends = []
    end = _FIRST_RUNG
    while 5 * end <= 4 * examples:
        ends.append(end)
        end *= 2
    return [*ends, examples]


@dataclass
class GeneratedChild:
    """A child with generated weights; its modules are built once in each process that predicts.

    Attributes:
        architecture: The architecture.
        states: Weights and BatchNorm statistics by name, from each network.
        modules: The child with each of these states, in eval mode; not sent to other processes.
    """

    architecture: Any
    states: Sequence[State]
    modules: Sequence[Callable[[Tensor], Tensor]] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.architecture, self.states)


class Scorer:
    """Scores architectures, all on the same examples.

    Args:
        network: A trained SMASH network.
        data: The data that it was trained on, on the network's device.
        rank_by: Which part of the score ranks.
        examples: The number of examples to score on; a fixed sample if the split has more. Of an
            example with several views, the first is used.
        split: ``val``; ``test`` only to follow the original, which had that option.
        precision: Numeric precision of predictions; see `autocast`.
        batch_size: The number of examples that are predicted at once; None for 250, or on a CPU
            for 100: then the batches of all rungs have one shape, and a CPU spends a fifth of the
            time of predictions on preparing convolutions for other shapes.
        snapshots: Earlier networks that predict beside it. The loss is the mean of all losses, and
            the error that of the joint prediction.

    Attributes:
        network: The SMASH network.
        labels: Classes of the scored examples, in the order in which they are seen, (examples,).
        rungs: The number of examples seen after each rung of a race.
        split: The split of the examples.
        precision: Numeric precision of predictions.
        networks: The number of networks that predict.

    Example:
        >>> import numpy as np, smash
        >>> from smash import NasBench201Space, SmashNetwork
        >>> data = smash.load_data("digits")
        >>> space = NasBench201Space()
        >>> network = SmashNetwork(space, data.task, hypernet="none")
        >>> score = Scorer(network, data, examples=20)(space.smallest())
        >>> score.examples
        20
    """

    def __init__(
        self,
        network: SmashNetwork,
        data: Data,
        rank_by: RankBy = "loss",
        examples: int = SCORED_EXAMPLES,
        split: Literal["val", "test"] = "val",
        precision: Precision = "fp32",
        batch_size: int | None = None,
        snapshots: Sequence[SmashNetwork] = (),
    ) -> None:
        self._snapshots = snapshots
        self._generated = 0  # children
        self.networks = 1 + len(snapshots)
        self.split, self.precision = split, precision
        self.network = network
        self._mean, self._std = data.mean, data.std
        self._rank_by, self._batch_size = rank_by, batch_size
        self._scored = getattr(data, split).first_views
        # The first n of them are a fair sample too, for any n.
        self._order = _in_fair_order(self._scored, "scored examples")[:examples]
        self.labels = self._scored.labels[self._order.to(self._scored.labels.device)]
        self.rungs = rung_ends(len(self.labels))
        self._calibration = calibration_sample(data)

    @property
    def device(self) -> torch.device:
        """The device that it computes on."""
        device: torch.device = self.labels.device
        return device

    def __call__(self, architecture: Any) -> Score:
        """Scores an architecture on all examples."""
        return self.score(self.predict(architecture))

    def state(self, architecture: Any) -> State:
        """Generates the weights and BatchNorm statistics that an architecture is scored with."""
        return self.network.state(architecture, self._calibration_images)

    @cached_property
    def _calibration_images(self) -> Tensor:
        return self._normalise(self._calibration.images)

    def _normalise(self, images: Tensor) -> Tensor:
        """Normalises images as `Data.normalise` does, without keeping the data."""
        return channels_last(normalise(images, self._mean, self._std))

    def generate(self, architecture: Any) -> GeneratedChild:
        """Generates the child of an architecture, with the weights of each network."""
        self._generated += 1
        if self._generated % _KEPT == 0:
            release_memory(whatever=True)
        images = self._calibration_images
        generated = [
            network.generate(architecture, images) for network in (self.network, *self._snapshots)
        ]
        modules, states = zip(*generated, strict=True)
        return GeneratedChild(architecture, states, modules)

    def predict(self, architecture: Any) -> Tensor:
        """Predicts all examples: log-probabilities, (examples, classes).

        They are means over the networks, so that minus the one of the true class is the mean loss.
        """
        child = self.generate(architecture)
        return torch.cat([self.predict_rung(child, rung) for rung in range(len(self.rungs))])

    def predict_rung(self, child: GeneratedChild, rung: int) -> Tensor:
        """Predicts the examples of one rung as `predict` does.

        Args:
            child: The child that `generate` returned, here or in another process.
            rung: Number of the rung.
        """
        if not child.modules:
            child.modules = [
                network.child(child.architecture, _to(state, self.device))
                for network, state in zip(
                    (self.network, *self._snapshots), child.states, strict=True
                )
            ]
        modules = child.modules

        def log_probabilities(images: Tensor) -> Tensor:
            parts = [module(images).float().log_softmax(1) for module in modules]
            return torch.stack(parts).mean(0)

        begin, end = [0, *self.rungs][rung : rung + 2]
        order = self._order[begin:end]
        size = self._batch_size or (_FIRST_RUNG if self.device.type == "cpu" else BATCH_SIZE)
        with autocast(self.device, self.precision):
            predicted = predict(log_probabilities, self._scored, self._normalise, size, order)
        release_memory()
        return predicted

    def ranking_values(self, predicted: Tensor, begin: int = 0) -> Tensor:
        """Computes the ranking quantity of each example; its mean over all is the score.

        Args:
            predicted: Log-probabilities, (examples, classes).
            begin: Number of the first of these examples.

        Returns:
            Shape (examples,).
        """
        labels = self.labels[begin : begin + len(predicted)]
        if self._rank_by == "loss":
            return F.nll_loss(predicted, labels, reduction="none")
        return misses(predicted, labels, among=1 if self._rank_by == "error" else 5).double()

    def score(self, predicted: Tensor) -> Score:
        """Scores predictions of all examples, or of the first of them.

        Args:
            predicted: Log-probabilities, (examples, classes).
        """
        labels = self.labels[: len(predicted)]
        # A child whose numbers overflow ranks last, and does not end the search.
        loss = F.nll_loss(predicted, labels).nan_to_num(nan=_WORST_LOSS, posinf=_WORST_LOSS).item()
        return Score(
            error=error_of(predicted, labels),
            top5_error=error_of(predicted, labels, among=5),
            loss=loss,
            rank_by=self._rank_by,
            split=self.split,
            examples=len(labels),
        )

    def to(self, device: torch.device) -> Self:
        """Copies the scorer to a device, with only those examples that it needs."""
        other = copy.copy(self)
        other.__dict__.pop("_calibration_images", None)
        other.network = copy.deepcopy(self.network).to(device)
        other._snapshots = [copy.deepcopy(each).to(device) for each in self._snapshots]
        other._scored = self._scored.subset(self._order).to(device)
        other._order = torch.arange(len(self.labels))
        other._calibration = self._calibration.to(device)
        other.labels = self.labels.to(device)
        return other

    def slope(self, architecture: Any) -> Callable[[Any], float]:
        """Computes the gradient of the loss at an architecture; see `SmashNetwork.slope`."""
        batch = self._scored.subset(self._order[:BATCH_SIZE])
        images = self._normalise(batch.images)
        return self.network.slope(architecture, images, batch.labels)


def calibration_sample(data: Data) -> Split:
    """Copies the training examples that BatchNorm statistics of generated children come from.

    They are the same in each search, and in each validation of a SMASH network.
    """
    train = data.train.first_views
    return train.subset(_in_fair_order(train, "calibration")[:CALIBRATION_EXAMPLES])


def _to(state: State, device: torch.device) -> State:
    return {name: tensor.to(device) for name, tensor in state.items()}


def _in_fair_order(split: Split, purpose: str) -> Tensor:
    """Shuffles the examples, the same way each time, with each class spread evenly.

    So the first n have their fair share of each class, for any n.

    Returns:
        Indices of the examples, (n,).
    """
    rng = torch_generator(0, purpose)
    order = torch.randperm(len(split), generator=rng)
    labels = split.labels.cpu()[order]
    counts = labels.bincount()
    by_class = labels.argsort(stable=True)
    place = torch.empty_like(by_class)
    place[by_class] = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[by_class]]
    # Each example draws its position, 0…1, within the strip of its place in its class.
    strip = (place + torch.rand(len(labels), generator=rng, dtype=torch.float64)) / counts[labels]
    return order[strip.argsort(stable=True)]
