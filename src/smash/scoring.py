"""The SMASH score: validation error and loss of an architecture with generated weights.

BatchNorm statistics are computed for the architecture, on a fixed sample of training examples; then
the child is evaluated with weights and statistics fixed. So a score is repeatable and depends
neither on what was scored before nor on how examples are batched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.data import Data, Split, batches
from smash.device import Precision, autocast
from smash.randomness import torch_generator
from smash.weights import SmashNetwork

RankBy = Literal["loss", "error", "top5_error"]

CALIBRATION_EXAMPLES = 250
SCORED_EXAMPLES = 2000
BATCH_SIZE = 250


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
    ) -> None:
        self._precision, self._batch_size = precision, batch_size
        self._network, self._data, self._rank_by, self._split = network, data, rank_by, split
        self.scored = _sample(getattr(data, split), examples, "scored examples")
        self._calibration = _sample(data.train, CALIBRATION_EXAMPLES, "calibration")

    def __call__(self, architecture: Any) -> Score:
        """Scores an architecture."""
        return self.judge(self.predict(architecture))

    def state(self, architecture: Any) -> dict[str, Tensor]:
        """The weights and BatchNorm statistics that an architecture is scored with."""
        return self._network.state(architecture, self._data.normalise(self._calibration.images))

    @torch.no_grad()
    def predict(self, architecture: Any) -> Tensor:
        """Gives logits for the scored examples, examples×classes."""
        child = self._network.child(architecture, self.state(architecture))
        parts = batches(self.scored, self._batch_size)
        with autocast(self.scored.labels.device, self._precision):
            logits = [child(self._data.normalise(batch.images)) for batch in parts]
        return torch.cat(logits).float()

    def judge(self, logits: Tensor) -> Score:
        """Scores predictions that `predict` gave."""
        labels = self.scored.labels
        return Score(
            error=error_of(logits, labels),
            top5_error=error_of(logits, labels, among=5),
            loss=F.cross_entropy(logits, labels).item(),
            rank_by=self._rank_by,
            split=self._split,
            examples=len(labels),
        )

    def slope(self, architecture: Any) -> Callable[[Any], float]:
        """The gradient of the loss on scored examples; see `SmashNetwork.slope`."""
        batch = _sample(self.scored, BATCH_SIZE, "slope")
        images = self._data.normalise(batch.images)
        return self._network.slope(architecture, images, batch.labels)


def error_of(logits: Tensor, labels: Tensor, among: int = 1) -> float:
    """Share of examples, 0…1, whose class is not among the most likely.

    Args:
        logits: Examples×classes.
        labels: Shape (examples,).
        among: How many of the most likely classes count.
    """
    likely = logits.topk(min(among, logits.shape[1]), dim=1).indices
    return (likely != labels[:, None]).all(1).double().mean().item()


def _sample(split: Split, examples: int, purpose: str) -> Split:
    """A fixed sample of first views, without replacement: of the same split always the same."""
    split = split.first_views
    if examples >= len(split):
        return split
    order = torch.randperm(len(split), generator=torch_generator(0, purpose))
    return split.subset(order[:examples])
