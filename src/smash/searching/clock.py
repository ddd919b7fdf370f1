"""The clock of a search that ends after some minutes."""

from __future__ import annotations

import time

from smash.study.settings import Timetable

_SHARE = 0.1
"""Most of the time that one cohort may take, as far as the one before it tells."""

_FIRST = 10
"""Proposals of a strategy that tell how long it takes."""


class Clock:
    """Divides the time of a search among its strategies, and plans their cohorts.

    A strategy goes on until its share of the time is over. Before a cohort is proposed, its end is
    put into the timetable, which the study keeps: a search that is repeated proposes these cohorts
    again, and goes on from the time that was spent on them.

    Args:
        seconds: The time of the search, with all its repetitions.
        begun: Reading of `time.monotonic` when this one began.
        timetable: What the study keeps of the time before.

    Example:
        >>> clock = Clock(60, time.monotonic() - 20, Timetable(seconds=15))
        >>> round(clock.spent), clock.is_over(0.5), clock.is_over(1.0)
        (35, True, False)
    """

    def __init__(self, seconds: float, begun: float, timetable: Timetable) -> None:
        self.seconds, self.timetable = seconds, timetable
        self._begun = begun - timetable.seconds
        self._paces: dict[str, float] = {}

    @property
    def spent(self) -> float:
        """Seconds that have passed, with those of earlier searches of the study."""
        return time.monotonic() - self._begun

    def is_over(self, share: float = 1.0) -> bool:
        """Tells whether a share of the time, 0…1, has passed."""
        return self.spent >= share * self.seconds

    def size(self, strategy: str, share: float, most: int) -> int:
        """Returns how many proposals the next cohort of a strategy has; 0 if its time is over.

        Args:
            strategy: Name of the strategy.
            share: Part of the time, 0…1, at which that of the strategy ends.
            most: Proposals of a whole cohort.
        """
        if not self.timetable.stops:  # a short time, but a search ends with candidates
            return min(most, _FIRST)
        if self.is_over(share):
            return 0
        if strategy not in self._paces:
            return min(most, _FIRST)
        left = min(share * self.seconds - self.spent, _SHARE * self.seconds)
        return min(most, int(left / self._paces[strategy]))

    def take(self, strategy: str, proposals: int, seconds: float) -> None:
        """Takes note of the time that some proposals of a strategy took."""
        self._paces[strategy] = max(seconds / proposals, 1e-9)

    def pause(self) -> Timetable:
        """Puts the time spent into the timetable."""
        self.timetable = self.timetable.model_copy(update={"seconds": self.spent})
        return self.timetable

    def close(self) -> Timetable:
        """Puts into the timetable that all of the time is over."""
        seconds = max(self.spent, self.seconds)
        self.timetable = self.timetable.model_copy(update={"seconds": seconds})
        return self.timetable

    def plan(self, strategy: str, end: int, size: int) -> Timetable:
        """Puts the end of a cohort into the timetable, and the time spent.

        Args:
            strategy: Name of the strategy.
            end: Number of proposals up to the end of the cohort.
            size: Proposals of a whole cohort of the strategy.
        """
        self.timetable = self.timetable.extended(strategy, end, size, self.spent)
        return self.timetable
