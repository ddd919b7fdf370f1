"""The settings of a search as its study keeps them, for those who read a study."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from smash.config import NotNegative
from smash.io.records import Record
from smash.profiling.names import CostName
from smash.runtime.names import Precision
from smash.scoring.priors import check_proxy
from smash.scoring.score import SCORED_EXAMPLES, RankBy


class Timetable(Record):
    """The cohorts of a search that ends after some minutes, as its study keeps them.

    Example:
        >>> timetable = Timetable()
        >>> for end in (10, 110, 210, 240):
        ...     timetable = timetable.extended("random", end, size=100, seconds=end / 2)
        >>> timetable.stops
        {'random': [10, 210, 240]}
        >>> timetable.cohorts("random", 250, size=100)
        [range(0, 10), range(10, 110), range(110, 210), range(210, 240), range(240, 250)]
    """

    seconds: NotNegative = 0.0
    """Time that was spent when the last cohort began, or the search ended."""

    stops: dict[str, list[Annotated[int, Field(ge=1, lt=2**31)]]] = Field({})
    """Numbers of proposals by strategy, at which a cohort ends before it is whole."""

    def cohorts(self, strategy: str, count: int, size: int) -> list[range]:
        """Cuts the first proposals of a strategy into cohorts.

        Args:
            strategy: Name of the strategy.
            count: Number of proposals.
            size: Proposals of a whole cohort.
        """
        stops = [stop for stop in self.stops.get(strategy, []) if stop < count]
        bounds = zip([0, *stops], [*stops, count], strict=True)
        return [
            range(begin, min(begin + size, end))
            for first, end in bounds
            for begin in range(first, end, size)
        ]

    def extended(self, strategy: str, end: int, size: int, seconds: float) -> Timetable:
        """Returns the timetable with one more cohort of a strategy.

        Args:
            strategy: Name of the strategy.
            end: Number of proposals up to its end.
            size: Proposals of a whole cohort.
            seconds: Time spent so far.
        """
        stops = self.stops.get(strategy, [])
        before, last = [0, 0, *stops][-2:]
        whole = last > before and (last - before) % size == 0 and end == last + size
        stops = [*stops[:-1], end] if whole else [*stops, end]
        return Timetable(seconds=seconds, stops={**self.stops, strategy: stops})


class StudySettings(Record):
    """Settings of a search that readers of its study use; others are kept as they are.

    Example:
        >>> StudySettings.model_validate({"rank_by": "error", "seed": 3}).rank_by
        'error'
    """

    model_config = ConfigDict(extra="allow")

    rank_by: RankBy = "loss"
    """The part of the score that ranks."""

    objectives: tuple[RankBy | CostName, ...] = Field((), strict=False)
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
