"""The length of a training: its steps, and how their number changed to keep to a time."""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from smash.config.settings import Settings

_Steps = Annotated[int, Field(ge=1, lt=2**62)]


class Length(Settings):
    """The number of steps of a training, with its revisions.

    Schedules depend on the position of a step in the plan and not on its number: a revision of the
    length lets the positions of the steps to come lie closer or wider, and leaves those of the
    steps before as they were. A training is thus a function of its recorded length, whatever time
    it took.

    Example:
        >>> length = Length(steps=100).revised(50, 75)  # after 50 steps, 25 are left
        >>> length.total, [length.position(step) for step in (10, 50, 51, 75)]
        (75, [10.0, 50.0, 52.0, 100.0])
        >>> length.step_at(Fraction(3, 4))
        63
    """

    steps: _Steps
    """Steps that were planned at first."""

    revisions: tuple[tuple[_Steps, _Steps], ...] = ()
    """Changes of the plan: the number of steps taken then, and the steps in all from then on. A
    training that keeps to a time ends with one that changes nothing, and closes the record."""

    def rules(self) -> list[str]:
        """Requires revisions in their order, each before the end of the plan that it changes."""
        start, end = 0, self.steps
        for taken, total in self.revisions:
            if not start < taken <= min(end, total):
                return [f"revisions must follow each other, got {[taken, total]} in {end:,} steps"]
            start, end = taken, total
        return []

    @property
    def total(self) -> int:
        """Steps in all."""
        return self.revisions[-1][1] if self.revisions else self.steps

    @property
    def revised_at(self) -> int:
        """The number of steps taken at the last revision; 0 without one."""
        return self.revisions[-1][0] if self.revisions else 0

    def position(self, step: int) -> float:
        """Returns the position of a step in the first plan, 0…`steps`."""
        position, start, end = 0.0, 0, self.steps
        for taken, total in self.revisions:
            if step <= taken:
                break
            position += (taken - start) * (self.steps - position) / (end - start)
            start, end = taken, total
        return position + (step - start) * (self.steps - position) / (end - start)

    def step_at(self, share: Fraction) -> int:
        """Returns the number of steps after which a share of the plan, 0…1, is done."""
        steps = range(self.total)
        return bisect_left(
            steps, share * self.steps, key=lambda step: Fraction(self.position(step))
        )

    def snapshot_steps(self, snapshots: int) -> set[int]:
        """Returns the steps after which a network is kept to rank beside the last one.

        Args:
            snapshots: Number of networks that rank together, evenly from the second half.
        """
        shares = (Fraction(each, 2 * snapshots) for each in range(snapshots + 1, 2 * snapshots))
        return {self.step_at(share) for share in shares} - {self.total}

    def revised(self, step: int, total: int) -> Length:
        """Returns the length with another number of steps in all, from a step on."""
        return Length(steps=self.steps, revisions=(*self.revisions, (step, total)))
