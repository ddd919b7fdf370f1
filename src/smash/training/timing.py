"""Keeping a training to a time: its steps are timed before it begins, and again on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from smash.config import Length
from smash.training.loop import Trainable

TIMED_STEPS = 24
"""Most steps that are timed before a training begins, and the planned length of that trial."""

_TIMED_SHARE = 0.05  # of the time, at most, goes into timing
_LOOKS = 20  # at the clock, in equal parts of the time
_TOLERANCE = 0.1  # of the steps that are left: a smaller change would follow noise


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Durations in a training.

    Attributes:
        step: Seconds of a step.
        validation: Seconds of a validation.

    Example:
        >>> Pace(step=0.5, validation=2.0).steps_in(62.0, between_validations=20)
        100
    """

    step: float
    validation: float

    def steps_in(self, seconds: float, between_validations: float) -> int:
        """Computes how many steps fit in a time, with the validations between and after them.

        Args:
            seconds: The time; none or less holds no steps.
            between_validations: Steps from one validation to the next.
        """
        each = self.step + self.validation / between_validations
        return max(0, int((seconds - self.validation) / each))


def measure_pace(trial: Trainable, seconds: float) -> Pace:
    """Times some steps of a training, and a validation.

    Architectures grow during a training, so its first steps alone would promise too many. The timed
    steps are therefore spread over the whole of it. They start from its middle and go outwards, so
    that they stay spread where there is time for a few only.

    Args:
        trial: A training of `TIMED_STEPS`, whose networks are altered.
        seconds: Time of the training to come.
    """
    float(trial.step(0))  # the first step is slower than all that follow
    middle_out = sorted(range(TIMED_STEPS), key=lambda step: abs(2 * step + 1 - TIMED_STEPS))
    begun, timed = time.monotonic(), 0
    for step in middle_out:
        float(trial.step(step))  # which waits for a GPU
        timed += 1
        if timed % 2 == 0 and time.monotonic() - begun > _TIMED_SHARE * seconds:
            break
    ended = time.monotonic()
    trial.validate(epoch=1)
    return Pace(step=(ended - begun) / timed, validation=time.monotonic() - ended)


class Deadline:
    """Ends a training on time, whatever else the machine does: revises its length on the way.

    It looks at the clock after every twentieth of the time. If the steps since the last look say
    that the number of steps still to come should differ by more than a tenth, the length is
    revised. In the first half, in which architectures grow, it is only shortened: the steps to come
    take longer than those that were timed.

    Args:
        seconds: The time, in which all of the training is counted.
        record: Keeps a length; called before a step follows it.
        spent: Seconds of it that had passed when the training began.
        validation: Seconds of a validation, until one was timed on the way.

    Example:
        >>> deadline = Deadline(100, lambda length: None)
        >>> deadline.restart(0, step=0)
        >>> length = Length(steps=100)
        >>> deadline.is_due(10, length, step=5)
        True
        >>> deadline.revise(10, length, step=5, between_validations=50).total
        50
    """

    def __init__(
        self,
        seconds: float,
        record: Callable[[Length], None],
        spent: float = 0.0,
        validation: float = 0.0,
    ) -> None:
        self._seconds, self.record = seconds, record
        self.spent, self.validation = spent, validation
        self._looked, self._step, self._validated = 0.0, 0, 0.0

    def restart(self, seconds: float, step: int) -> None:
        """Begins to time steps anew, a number of seconds and steps after the beginning."""
        self._looked, self._step, self._validated = seconds, step, 0.0

    def take_validation(self, seconds: float) -> None:
        """Takes note of the duration of a validation."""
        self.validation = seconds
        self._validated += seconds

    def is_due(self, seconds: float, length: Length, step: int) -> bool:
        """Tells whether it is time to look at the clock, after a recorded revision at least.

        Args:
            seconds: Seconds since the beginning.
            length: The length so far.
            step: Steps taken.
        """
        return seconds - self._looked >= self._seconds / _LOOKS and step > length.revised_at

    def revise(
        self, seconds: float, length: Length, step: int, between_validations: float
    ) -> Length:
        """Returns the length with which the training ends on time; the same if it already does.

        Args:
            seconds: Seconds since the beginning.
            length: The length so far.
            step: Steps taken.
            between_validations: Steps from one validation to the next.
        """
        stepping = seconds - self._looked - self._validated
        pace = Pace(step=stepping / (step - self._step), validation=self.validation)
        self.restart(seconds, step)
        left = pace.steps_in(self._seconds - seconds, between_validations)
        if 2 * length.position(step) < length.steps:
            left = min(left, length.total - step)
        if abs(left - (length.total - step)) <= _TOLERANCE * (length.total - step):
            return length
        return length.revised(step, step + left)
