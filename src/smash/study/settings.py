"""The settings of a search as its study keeps them, for those who read a study."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from smash.io.records import Record
from smash.runtime.names import Precision
from smash.scoring.priors import check_proxy
from smash.scoring.score import SCORED_EXAMPLES, RankBy


class StudySettings(Record):
    """Settings of a search that readers of its study use; others are kept as they are.

    Example:
        >>> StudySettings.model_validate({"rank_by": "error", "seed": 3}).rank_by
        'error'
    """

    model_config = ConfigDict(extra="allow")

    rank_by: RankBy = "loss"
    """The part of the score that ranks."""

    objectives: tuple[RankBy | Literal["params", "macs", "latency"], ...] = Field((), strict=False)
    """The objectives of a search by several."""

    prior: str | None = None
    """The proxy that joins the score in the ranking."""

    examples: Annotated[int, Field(ge=1, lt=2**63)] = SCORED_EXAMPLES
    """Validation examples that candidates are scored on."""

    split: Literal["val", "test"] = "val"
    """The split that they are scored on."""

    precision: Precision = "fp32"
    """Numeric precision of predictions."""

    @model_validator(mode="after")
    def _names_a_proxy(self) -> Self:
        check_proxy("prior", self.prior)
        return self
