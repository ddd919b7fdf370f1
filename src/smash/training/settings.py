"""The settings of the verbs that train: train, retrain and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from smash.config import (
    MOST,
    ChildSettings,
    Count,
    Device,
    Epochs,
    Minutes,
    NotNegative,
    Option,
    RayAddress,
    Seed,
    SpaceSettings,
    TrainingSettings,
)
from smash.errors import InvalidValueError, faults_of
from smash.run.layout import child_path
from smash.training.defaults import OF_MEMORY_BANKS, SUITABLE


class TrainSettings(TrainingSettings):
    """The settings of `smash.train`.

    Example:
        >>> settings = TrainSettings(epochs=20, preset="tiny", options={"depths": 2})
        >>> settings.given()
        {'epochs': 20, 'preset': 'tiny', 'options': {'depths': 2}}
    """

    epochs: Annotated[Epochs | None, Option(default="12 for nas-bench-201, else 100")] = None
    """Passes over the training split."""

    minutes: Minutes | None = None
    """Time to train for, instead of epochs. Steps are timed at first and on the way; the run keeps
    their number."""

    space: Annotated[str, Option(default="mobile, or the one that has the preset")] = "mobile"
    """Search space: mobile, memory-bank, nas-bench-201, FILE.py:FUNCTION or MODULE:FUNCTION."""

    preset: Annotated[
        str | None, Option(default="the largest that suits the data, the device and the limits")
    ] = None
    """Options of the space by name: tiny, small or base for mobile; original, v1, v2, small or
    tiny for memory-bank."""

    options: Annotated[dict[str, Any], Option(flags=("--option", "-o"), metavar="KEY=VALUE")] = (
        Field(default={})
    )
    """Option of the space that differs from the preset's, such as depth=6; repeatable."""

    hypernet: Annotated[
        Literal["convolutional", "low-rank", "none"] | None,
        Option(default="convolutional for memory banks, else none"),
    ] = None
    """Hypernetwork that generates weights; none shares plain weights."""

    seed: Seed = 0
    """Seed of everything that is drawn."""

    device: Device = "auto"
    """Device to compute on: cpu, cuda, mps or auto."""

    @model_validator(mode="before")
    @classmethod
    def _space_of_preset(cls, values: Any) -> Any:
        if values.get("preset") in OF_MEMORY_BANKS:
            return {"space": "memory-bank", **values}
        return values

    @field_validator("space", mode="before")
    @classmethod
    def _register(cls, space: Any) -> Any:
        if isinstance(space, str) and ":" not in space:
            return space
        from smash.spaces import register_space

        name = register_space(space)
        # With its folder a file is found again when the settings are copied.
        return space if isinstance(space, str) else name

    @property
    def space_name(self) -> str:
        """The name of the space as a run keeps it: without the folders of this machine."""
        if ":" not in self.space:
            return self.space
        from smash.spaces.user_code import short_name

        return short_name(self.space)

    def rules(self) -> list[str]:
        """Requires one length, a device of this machine, and a space that can be made."""
        faults = []
        if self.epochs is not None and self.minutes is not None:
            faults = [f"epochs ({self.epochs}) and minutes ({self.minutes:g}) exclude each other"]
        given = self.given()
        if given.keys() & {"space", "preset", "options"}:
            faults += self._space_faults()
        return faults

    def _space_faults(self) -> list[str]:
        from smash.spaces import make_space

        def faults_with(preset: str | None) -> list[str]:
            space = SpaceSettings(name=self.space_name, preset=preset, options=self.options)
            return faults_of(lambda: make_space(space, dims=2))

        # The default preset follows from the data: only a fault with every one is a fault.
        presets = (self.preset,) if self.preset else SUITABLE.get(self.space, (None,))
        found = [faults_with(preset) for preset in presets]
        return found[0] if all(found) else []


class ChildrenSettings(ChildSettings):
    """Settings of the training of several children."""

    device: Device = "auto"
    """Device to compute on: cpu, cuda, mps or auto."""

    workers: Annotated[Count | None, Option(default="one a thread, where trainings take long")] = (
        None
    )
    """Children to train at once, each by a process with its share of the threads."""

    ray: RayAddress = None
    """Ray cluster to train several children on."""

    def rules(self) -> list[str]:
        """Requires one place for several trainings."""
        faults = super().rules()
        if self.ray is not None and self.workers is not None:
            faults.append(
                f"workers ({self.workers}) are of this machine, and ray {self.ray!r} is a cluster: "
                "leave one of them out"
            )
        return faults


OF_FINALS = ("finalists", "finals_share", "folds")
"""Settings that choose the winner."""


class FinalsSettings(ChildrenSettings):
    """Settings of the training of children, and of the choice of the winner."""

    finalists: Count = 8
    """Train so many of the best-ranked briefly, and the last two to four of them in full; with 1,
    or with minutes, the best-ranked is the winner."""

    finals_share: NotNegative = 1.0
    """Epochs of the brief trainings together ÷ those of a full one."""

    folds: Count = 1
    """Train each finalist so many times, and judge it by the mean over the validation split and
    parts of the training split that are cut like it; for few examples, or few groups."""

    def rules(self) -> list[str]:
        """Requires one length of the training."""
        faults = super().rules()
        if self.finalists == 1:
            faults += self._faults_of_finals("with finalists 1")
        for name in ("epochs", *OF_FINALS):
            if self.minutes is not None and name in self.given():
                faults.append(
                    f"{name} ({getattr(self, name)}) and minutes ({self.minutes:g}) exclude each "
                    "other"
                )
        return faults

    def _faults_of_finals(self, why: str) -> list[str]:
        """Refuses settings of finals where none are held."""
        given = self.given()
        return [
            f"{name} is of the finals, which choose the winner, got {given[name]} {why}: leave one "
            "of them out"
            for name in OF_FINALS
            if name in given and not (name == "finalists" and given[name] == 1)
        ]


class RetrainSettings(FinalsSettings):
    """The settings of `smash.retrain`.

    Example:
        >>> RetrainSettings(rank=2, epochs=50).child.epochs
        50
    """

    rank: Annotated[
        int | None, Field(ge=0, le=MOST), Option(default="the winner of the finals")
    ] = None
    """Rank of the candidate to train; 0 is the best."""

    baseline: str | None = None
    """Train a reference network instead: resnet or wrn of about the candidate's size, or one by
    name, such as wrn-16-2, resnet18 or timm:NAME."""

    name: Annotated[str | None, Option(default="id and settings that differ")] = None
    """Name of the child's folder."""

    test: bool = False
    """Evaluate on the test split at the end."""

    def rules(self) -> list[str]:
        """Requires that settings of a candidate, of several and of a baseline are not mixed."""
        faults = super().rules()
        if self.baseline is not None:
            from smash.spaces.baseline_names import FITTED, full_name

            if self.baseline.lower() not in FITTED:
                faults += faults_of(lambda: full_name(str(self.baseline)))
        if self.name is not None:
            faults += faults_of(lambda: child_path(Path(), str(self.name)))
        chosen = "rank" if self.rank is not None else "baseline" if self.baseline else None
        if chosen is not None:
            why = f"with {chosen} {getattr(self, chosen)!r}"
            faults += self._faults_of_finals(why)
            faults += [
                f"{name} is for several children at once, got {getattr(self, name)!r} {why}: leave "
                "one of them out"
                for name in ("workers", "ray")
                if getattr(self, name) is not None
            ]
        if self.baseline is not None and self.init != "scratch":
            faults.append(
                f"init must be 'scratch' for the reference network {self.baseline!r}, got "
                f"{self.init!r}: weights are generated for candidates only"
            )
        return faults


def parse_ranks(text: str) -> list[int]:
    """Reads ranks such as ``0-4`` or ``0,2,5``.

    Raises:
        InvalidValueError: They are no such thing.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = (first, last if dash else first)
        if not all(end.isdecimal() and len(end) < 7 for end in ends) or int(ends[1]) < int(ends[0]):
            raise InvalidValueError(
                f"ranks must be numbers and ranges such as 0-4 or 0,2,5, got {text!r}"
            )
        found += range(int(ends[0]), int(ends[1]) + 1)
    return list(dict.fromkeys(found))
