"""The search space for devices."""

from __future__ import annotations

from typing import Any

from smash.spaces.base import Definition
from smash.spaces.choices import CHOSEN_MODULES, Choices, FunctionSpace
from smash.spaces.choices.chosen import Chosen
from smash.spaces.mobile.network import MobileNetwork, build_mobile
from smash.spaces.mobile.options import MobileOptions
from smash.spaces.task import Task

_SOURCES = ("smash.spaces.layers", MobileOptions.__module__, build_mobile.__module__)


class MobileSpace(FunctionSpace):
    """Stages of residual, fused, inverted and separable blocks at falling resolution.

    Args:
        options: What the networks are chosen from.
        task: What children are for.

    Example:
        >>> from smash.spaces.mobile.presets import MOBILE_PRESETS
        >>> space = MobileSpace(MOBILE_PRESETS["tiny"])
        >>> space.largest()["width 2"]
        24
    """

    def __init__(self, options: MobileOptions, task: Task | None = None) -> None:
        super().__init__(MobileNetwork(**vars(options)), "mobile", task)
        self._options = options

    def bind(self, task: Task) -> MobileSpace:
        """Makes the same space for another task."""
        return self if task == self.task else MobileSpace(self._options, task)

    def __reduce__(self) -> tuple[Any, ...]:
        return MobileSpace, (self._options, self.task)

    def definition(self, architecture: Choices, task: Task) -> Definition:
        """Gives the source files of the child, and the call that builds it."""
        return Definition(
            modules=(*CHOSEN_MODULES, *_SOURCES),
            network=build_mobile,
            arguments={
                "options": self.function,
                "choose": Chosen(dict(architecture.items)),
                "task": task,
            },
        )
