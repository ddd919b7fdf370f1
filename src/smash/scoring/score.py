"""The score of an architecture with generated weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smash.io.records import Amount, Share

RankBy = Literal["loss", "error", "top5_error"]

SCORED_EXAMPLES = 2000
"""The number of validation examples that architectures are scored on by default."""

BATCH_SIZE = 250
"""The number of examples that are predicted at once by default, but on a CPU."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Error and loss of an architecture with generated weights; lower is better.

    Attributes:
        error: Share of examples classified wrongly, 0…1.
        top5_error: Share of examples whose class is not among the five most likely, 0…1.
        loss: Mean cross-entropy, in nats.
        rank_by: Which of the three ranks.
        split: The split of the examples.
        examples: The number of examples.

    Example:
        >>> score = Score(
        ...     error=0.1, top5_error=0.0, loss=0.4, rank_by="loss", split="val", examples=250
        ... )
        >>> score.value
        0.4
    """

    error: Share
    top5_error: Share
    loss: float
    rank_by: RankBy
    split: str
    examples: Amount

    @property
    def value(self) -> float:
        """The value that ranks."""
        return float(getattr(self, self.rank_by))
