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
from smash.randomness import torch_generator
from smash.weights import SmashNetwork

RankBy = Literal["loss", "error"]

CALIBRATION_EXAMPLES = 250
SCORED_EXAMPLES = 2000
_BATCH_SIZE = 250


@dataclass(frozen=True)
class Score:
    """How well an architecture does with generated weights.

    Attributes:
        error: Share of examples classified wrongly, 0…1.
        loss: Mean cross-entropy, in nats.
        rank_by: Which of the two ranks.
        split: Which examples these are.
        examples: How many.
    """

    error: float
    loss: float
    rank_by: RankBy
    split: str
    examples: int

    @property
    def value(self) -> float:
        """What ranks; lower is better."""
        return self.loss if self.rank_by == "loss" else self.error


class Scorer:
    """Scores architectures, all on the same examples.

    Args:
        network: A trained SMASH network.
        data: The data it was trained on, on the network's device.
        rank_by: What ranks.
        examples: How many validation examples to score on; a fixed sample where there are more. Of
            an example in several views, the first one is looked at.
    """

    def __init__(
        self,
        network: SmashNetwork,
        data: Data,
        rank_by: RankBy = "loss",
        examples: int = SCORED_EXAMPLES,
    ) -> None:
        self._network, self._data, self._rank_by = network, data, rank_by
        self._val = _sample(data.val.first_views, examples, "scored examples")
        self._calibration = _sample(data.train.first_views, CALIBRATION_EXAMPLES, "calibration")

    def state(self, architecture: Any) -> dict[str, Tensor]:
        """The weights and BatchNorm statistics that an architecture is scored with."""
        return self._network.state(architecture, self._data.normalise(self._calibration.images))

    @torch.no_grad()
    def __call__(self, architecture: Any) -> Score:
        """Scores an architecture."""
        state = self.state(architecture)
        child = self._network.child(architecture, state)
        error, loss = classify(child, self._val, self._data)
        return Score(error, loss, self._rank_by, "val", len(self._val))


@torch.no_grad()
def classify(child: Callable[[Tensor], Tensor], split: Split, data: Data) -> tuple[float, float]:
    """Gives error and mean loss of a child on examples."""
    loss = wrong = torch.zeros((), device=split.labels.device)
    for batch in batches(split, _BATCH_SIZE):
        logits = child(data.normalise(batch.images))
        loss = loss + F.cross_entropy(logits, batch.labels, reduction="sum")
        wrong = wrong + (logits.argmax(1) != batch.labels).sum()
    return wrong.item() / len(split), loss.item() / len(split)


def _sample(split: Split, examples: int, purpose: str) -> Split:
    """A fixed sample without replacement: of the same split always the same."""
    if examples >= len(split):
        return split
    order = torch.randperm(len(split), generator=torch_generator(0, purpose))
    return split.subset(order[:examples])
