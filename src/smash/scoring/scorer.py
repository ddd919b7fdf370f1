"""The SMASH score: validation error and loss of an architecture with generated weights.

BatchNorm statistics are computed for the architecture, on a fixed sample of training examples; then
the child is evaluated with weights and statistics fixed. So a score is repeatable and depends
neither on what was scored before nor on how examples are batched.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.data import Data, Split, batches, normalise
from smash.evaluation import error_of, misses
from smash.hypernet import SmashNetwork
from smash.hypernet.smash_network import State
from smash.runtime.device import Precision, autocast
from smash.runtime.rng import torch_generator

RankBy = Literal["loss", "error", "top5_error"]

CALIBRATION_EXAMPLES = 250
SCORED_EXAMPLES = 2000
BATCH_SIZE = 250
FIRST_RUNG = 100
_WORST = 1e30  # nats: of predictions that are no numbers; finite, as JSON needs it
WORTH_PARTS = 500  # examples; of fewer, parts would be too small to tell candidates apart by


@dataclass(frozen=True)
class Score:
    """How well an architecture does with generated weights.

    Attributes:
        error: Share of examples classified wrongly, 0…1.
        top5_error: Share whose class is not among the five most likely, 0…1.
        loss: Mean cross-entropy, in nats.
        rank_by: Which of the three ranks.
        split: Which examples these are.
        examples: How many.
    """

    error: float
    top5_error: float
    loss: float
    rank_by: RankBy
    split: str
    examples: int

    @property
    def value(self) -> float:
        """What ranks; lower is better."""
        return float(getattr(self, self.rank_by))


def rungs(examples: int, first: int = FIRST_RUNG) -> list[int]:
    """How many examples have been seen after each part: doubling, and all at the end.

    The part before the last ends at four fifths at most, so that there is something to save by it.

    Args:
        examples: All; where they are few, they are one part.
        first: In the first part.
    """
    if examples < WORTH_PARTS:
        return [examples]
    ends = []
    end = first
    while 5 * end <= 4 * examples:
        ends.append(end)
        end *= 2
    return [*ends, examples]


class Scorer:
    """Scores architectures, all on the same examples.

    Args:
        network: A trained SMASH network.
        data: The data it was trained on, on the network's device.
        rank_by: What ranks.
        examples: How many validation examples to score on; a fixed sample where there are more. Of
            an example in several views, the first one is looked at.
        split: ``val``; ``test`` only to follow the original, whose option it was.
        precision: In which children predict; see `autocast`.
        batch_size: Examples that are predicted at once: a matter of memory.
        snapshots: Networks that predict beside it: the loss is the mean of their losses, the error
            that of their predictions together.

    Attributes:
        network: The SMASH network.
        labels: Classes of the scored examples, in the order in which they are seen, (examples,).
        rungs: How many have been seen after each part.
        split: Which examples these are.
        precision: In which children predict.
        states: How many states of its child a score takes.
    """

    def __init__(
        self,
        network: SmashNetwork,
        data: Data,
        rank_by: RankBy = "loss",
        examples: int = SCORED_EXAMPLES,
        split: Literal["val", "test"] = "val",
        precision: Precision = "fp32",
        batch_size: int = BATCH_SIZE,
        snapshots: Sequence[SmashNetwork] = (),
    ) -> None:
        self._snapshots = snapshots
        self.states = 1 + len(snapshots)
        self.split, self.precision = split, precision
        self.network = network
        self._normalise = partial(normalise, mean=data.mean, std=data.std)
        self._rank_by, self._batch_size = rank_by, batch_size
        self._scored = getattr(data, split).first_views
        # So that the first of them are a fair sample too, whatever their number.
        self._order = _in_fair_order(self._scored, "scored examples")[:examples]
        self.labels = self._scored.labels[self._order.to(self._scored.labels.device)]
        self.rungs = rungs(len(self.labels))
        train = data.train.first_views
        self._calibration = train.subset(
            _in_fair_order(train, "calibration")[:CALIBRATION_EXAMPLES]
        )

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        device: torch.device = self.labels.device
        return device

    def __call__(self, architecture: Any) -> Score:
        """Scores an architecture."""
        return self.judge(self.predict(architecture))

    def state(self, architecture: Any) -> dict[str, Tensor]:
        """The weights and BatchNorm statistics that an architecture is scored with."""
        return self.network.state(architecture, self._calibration_images)

    @cached_property
    def _calibration_images(self) -> Tensor:
        return self._normalise(self._calibration.images)

    def predict(self, architecture: Any) -> Tensor:
        """Gives logarithmic probabilities for the scored examples, examples×classes.

        Where snapshots predict as well, these are means over the networks: that of the true class,
        with its sign changed, is the mean of their losses.
        """
        return torch.cat(list(self.predict_parts(architecture)))

    def predict_parts(self, architecture: Any) -> Iterator[Tensor]:
        """Gives what `predict` does up to each of `rungs`, each part when it is asked for."""
        states = self.states_of(architecture)
        children = self._children(architecture, states)
        return (self._predict(children, number) for number in range(len(self.rungs)))

    def predict_part(self, architecture: Any, states: Sequence[State], number: int) -> Tensor:
        """Gives what `predict` does for one part, the one up to that of `rungs`.

        Args:
            architecture: An architecture of the space.
            states: What `states_of` gives for it.
            number: Which part.
        """
        return self._predict(self._children(architecture, states), number)

    def states_of(self, architecture: Any) -> list[State]:
        """The states that an architecture is scored with, of the network and of each snapshot."""
        networks = (self.network, *self._snapshots)
        return [network.state(architecture, self._calibration_images) for network in networks]

    def _children(
        self, architecture: Any, states: Sequence[State]
    ) -> list[Callable[[Tensor], Tensor]]:
        networks = (self.network, *self._snapshots)
        return [
            network.child(architecture, state)
            for network, state in zip(networks, states, strict=True)
        ]

    def _predict(self, children: Sequence[Callable[[Tensor], Tensor]], number: int) -> Tensor:
        begin, end = [0, *self.rungs][number : number + 2]
        parts = batches(self._scored, self._batch_size, self._order[begin:end])
        with torch.no_grad(), autocast(self.labels.device, self.precision):
            predicted = [
                torch.stack([child(images).float().log_softmax(1) for child in children]).mean(0)
                for images in (self._normalise(batch.images) for batch in parts)
            ]
        return torch.cat(predicted)

    def each(self, predicted: Tensor, begin: int = 0) -> Tensor:
        """What ranks, for each example; the mean of all is the score.

        Args:
            predicted: What `predict` gave, examples×classes.
            begin: Which of the scored examples is the first of these.
        """
        labels = self.labels[begin : begin + len(predicted)]
        if self._rank_by == "loss":
            return F.nll_loss(predicted, labels, reduction="none")
        return misses(predicted, labels, among=1 if self._rank_by == "error" else 5).double()

    def judge(self, predicted: Tensor) -> Score:
        """Scores predictions that `predict` gave, of all scored examples or the first of them."""
        labels = self.labels[: len(predicted)]
        # A child whose numbers overflow is the worst there is, and not the end of a search.
        loss = F.nll_loss(predicted, labels).nan_to_num(nan=_WORST, posinf=_WORST).item()
        return Score(
            error=error_of(predicted, labels),
            top5_error=error_of(predicted, labels, among=5),
            loss=loss,
            rank_by=self._rank_by,
            split=self.split,
            examples=len(labels),
        )

    def to(self, device: torch.device) -> Self:
        """A scorer that gives the same on another device, with those examples alone it looks at."""
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
        """The gradient of the loss on scored examples; see `SmashNetwork.slope`."""
        batch = self._scored.subset(self._order[:BATCH_SIZE])
        images = self._normalise(batch.images)
        return self.network.slope(architecture, images, batch.labels)


def _in_fair_order(split: Split, purpose: str) -> Tensor:
    """Indices of the examples in random order: of the same split always the same.

    Each class is spread evenly, so that the first n have their fair share of each, for any n.
    """
    rng = torch_generator(0, purpose)
    order = torch.randperm(len(split), generator=rng)
    labels = split.labels.cpu()[order]
    counts = labels.bincount()
    by_class = labels.argsort(stable=True)
    place = torch.empty_like(by_class)
    place[by_class] = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[by_class]]
    # Where an example stands in its class, 0…1: anywhere in a strip of its own.
    strip = (place + torch.rand(len(labels), generator=rng, dtype=torch.float64)) / counts[labels]
    return order[strip.argsort(stable=True)]
