"""The search space for devices, and its presets by the size of what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from smash.errors import InvalidValueError, unknown
from smash.spaces.base import Definition
from smash.spaces.choices import CHOSEN_MODULES, Choices, FunctionSpace
from smash.spaces.choices.chosen import Chosen
from smash.spaces.mobile.network import MobileNetwork, build_mobile
from smash.spaces.task import Task

MOBILE_PRESETS: dict[str, MobileNetwork] = {
    "tiny": MobileNetwork(
        stem=(4, 8, 12), widths=((4, 8, 12), (8, 12, 16), (12, 16, 24)),
        depths=(1, 2), expansions=(1, 2, 3, 4),
    ),
    "small": MobileNetwork(
        stem=(8, 12, 16), widths=((8, 12, 16), (16, 24, 32), (24, 32, 48, 64)),
        depths=(1, 2, 3), expansions=(1, 2, 3, 4),
    ),
    "base": MobileNetwork(
        stem=(16, 24, 32), widths=((16, 24, 32), (32, 48, 64), (64, 96, 128)),
        depths=(1, 2, 3, 4), kernels=(3, 5, 7), expansions=(1, 2, 3, 4, 6), squeeze=True,
        activations=("relu", "hard-swish"), heads=(0, 256, 512),
    ),
}  # fmt: skip
"""Children of 5–50 thousand, 20–300 thousand and 0.3–5 million parameters, most of them."""


class MobileSpace(FunctionSpace):
    """Stages of residual, fused, inverted and separable blocks at falling resolution.

    Args:
        preset: ``tiny``, ``small`` or ``base``.
        options: Fields of `MobileNetwork` that differ from the preset's.
        task: What children are for.

    Raises:
        InvalidValueError: The preset or an option is not known.

    Example:
        >>> space = MobileSpace("tiny")
        >>> space.largest()["width 2"]
        24
    """

    def __init__(
        self, preset: str = "small", options: Mapping[str, Any] | None = None,
        task: Task | None = None,
    ) -> None:  # fmt: skip
        if preset not in MOBILE_PRESETS:
            raise InvalidValueError(unknown("preset", preset, MOBILE_PRESETS))
        names = [field.name for field in fields(MobileNetwork)]
        faults = [unknown("option", name, names) for name in options or {} if name not in names]
        if faults:
            raise InvalidValueError(*faults)
        given = {name: _as_tuples(value) for name, value in (options or {}).items()}
        super().__init__(replace(MOBILE_PRESETS[preset], **given), "mobile", task)

    def definition(self, architecture: Choices, task: Task) -> Definition:
        """Gives the source files of the child, and the call that builds it."""
        return Definition(
            modules=(*CHOSEN_MODULES, build_mobile.__module__),
            network=build_mobile,
            arguments={
                "options": self.function,
                "choose": Chosen(dict(architecture.items)),
                "task": task,
            },
        )


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value
