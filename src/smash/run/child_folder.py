"""Folders of trained child networks, read without torch, so that a run is shown at once.

A folder holds the network and its settings (``architecture.json``), its weights
(``model.safetensors``), its training curves (``metrics.jsonl``) and, once its training has
finished, its evaluations (``result.json``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from smash.config import ChildSettings, Length, describe
from smash.data.sound_format import SoundFormat
from smash.errors import InvalidValueError, RunStateError
from smash.evaluation import Evaluation
from smash.io.files import read_json, write_json
from smash.io.records import Amount, Record
from smash.run.layout import ARCHITECTURE, AUDIT, CHILDREN, RESULT

_NOTABLE_GAP = 0.05  # between the training and the validation error
_NO_EFFECT_ON_WEIGHTS = {"validate_every", "validate_on", "keep_every"}

Extent = Annotated[int, Field(ge=1, lt=2**31)]


def _read_sound(value: object) -> object:
    """Makes the form of recordings of the values that a file holds."""
    return TypeAdapter(SoundFormat).validate_python(value) if isinstance(value, dict) else value


class InputFormat(Record):
    """The inputs of a network.

    Example:
        >>> InputFormat(channels=3, size=[32, 32], scaled=True).size
        [32, 32]
    """

    channels: Extent
    """Channels of an input."""

    size: Annotated[list[Extent], Field(min_length=1, max_length=3)]
    """Spatial extent of an input, one number an axis."""

    scaled: bool
    """Whether inputs are 8-bit values divided by 255, in 0…1; otherwise they are in the units of
    the data."""

    white: Extent = 0xFFFF
    """Value of a pixel of 16-bit images that counts as 255, as in the training data."""

    sound: Annotated[SoundFormat | None, BeforeValidator(_read_sound)] = None
    """The form of recordings as inputs; None if inputs are no recordings."""


class ChildNetwork(Record):
    """The network of a child: an architecture of the run's space, or a reference network.

    Example:
        >>> ChildNetwork(
        ...     id="wrn-16-2", baseline="wrn-16-2", params=691_674, macs=101_062_784,
        ...     memory=98_304, flash=704_000,
        ... ).id
        'wrn-16-2'
    """

    id: str
    """Id of the candidate, or name of the reference network."""

    params: Amount
    """Number of parameters."""

    macs: Amount
    """Multiply-accumulates for one input."""

    memory: Amount
    """Bytes of RAM for the activations of one input in int8."""

    flash: Amount
    """Bytes of the weights and the graph in int8."""

    architecture: dict[str, Any] | None = None
    """The architecture, as its space writes it."""

    baseline: str | None = None
    """Name of the reference network."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.architecture is None) == (self.baseline is None):
            raise InvalidValueError("give either an architecture or a baseline")
        return self


class ChildRecord(ChildNetwork, InputFormat):
    """A child's ``architecture.json``: its network, and all that using it needs."""

    settings: ChildSettings
    """The settings of its training."""

    length: Length | None = None
    """Steps of its training, where it keeps to a time."""

    classes: list[str]
    """Names of the classes."""

    mean: list[float]
    """Mean of each channel, which is subtracted from inputs."""

    std: list[float]
    """Standard deviation of each channel, which the result is divided by."""


@dataclass(frozen=True)
class ChildFolder:
    """The folder of a trained child, read without its weights.

    Attributes:
        path: The folder, ``RUN/children/NAME``.
        record: Its ``architecture.json``.

    Example:
        >>> best = finished_children(Path("runs/digits"))[0]
        >>> 0 <= best.result["val"].error <= 1
        True
    """

    path: Path
    record: ChildRecord

    @property
    def result(self) -> dict[str, Evaluation]:
        """Its evaluations by split: ``val``, part of ``train``, and ``test`` once it was asked for.

        Raises:
            RunStateError: The file is damaged.
        """
        return read_result(self.path)

    def error(self, split: str) -> float:
        """Returns the error at the end of its training, 0…1.

        Raises:
            RunStateError: It was not evaluated on this split, or the file is damaged.
        """
        result = self.result
        if split not in result:
            raise RunStateError(f"{self.path / RESULT} is damaged: {split!r} is missing")
        return result[split].error


def finished_children(run: Path) -> list[ChildFolder]:
    """Finds the trained children of a run, but for those of `correlate`.

    Args:
        run: The run folder.

    Returns:
        The children, sorted by validation error.

    Raises:
        RunStateError: A child is damaged.
    """
    paths = [file.parent for file in sorted((run / CHILDREN).glob(f"*/{RESULT}"))]
    children = [ChildFolder(path, read_record(path)) for path in paths]
    kept = [child for child in children if "val" in child.result and AUDIT not in child.result]
    return sorted(kept, key=lambda child: child.error("val"))


def same_but_seed(children: Iterable[ChildFolder]) -> list[list[ChildFolder]]:
    """Groups children whose trainings differ in the seed alone."""
    groups: dict[str, list[ChildFolder]] = {}
    for child in children:
        settings = settings_of_weights(child.record.settings) | {"seed": 0}
        groups.setdefault(f"{child.record.id} {settings}", []).append(child)
    return list(groups.values())


def one_of_each_seed(group: Iterable[ChildFolder]) -> list[ChildFolder]:
    """Leaves out copies under another name, which are no further trainings."""
    return list({child.record.settings.seed: child for child in group}.values())


def read_record(path: Path) -> ChildRecord:
    """Reads the ``architecture.json`` of a child's folder.

    Raises:
        RunStateError: It is damaged.
    """
    return ChildRecord.read(path / ARCHITECTURE)


def read_result(path: Path) -> dict[str, Evaluation]:
    """Reads the ``result.json`` of a child's folder: evaluations by split.

    Raises:
        RunStateError: It is damaged.
    """
    file = path / RESULT
    result = {}
    for split, values in read_json(file).items():
        if not isinstance(values, dict):
            raise RunStateError(f"{file} is damaged: {split!r:.60} is {values!r:.60}")
        result[split] = Evaluation.parse(values, file)
    return result


def write_result(path: Path, result: Mapping[str, Evaluation]) -> None:
    """Writes the ``result.json`` of a child's folder, which marks the child as finished."""
    write_json(path / RESULT, {name: found.stored().model_dump() for name, found in result.items()})


def child_name(identity: str, settings: ChildSettings) -> str:
    """Names a child by its id and by the settings that differ from the defaults."""
    default = ChildSettings().model_dump()
    of_length = ChildSettings(epochs=settings.epochs, minutes=settings.minutes)
    default["augment"] = of_length.augment
    marks = {
        "epochs": "e",
        "minutes": "m",
        "patience": "p",
        "seed": "s",
        "batch_size": "b",
        "learning_rate": "lr",
    }
    words = {
        "augment": "augmented" if settings.augment else "unaugmented",
        "class_weights": "weighted",  # it differs in one way
    }
    parts = [identity]
    values = settings_of_weights(settings)
    for name in (field.name for field in describe(ChildSettings) if field.name in values):
        if (value := values[name]) == default[name]:
            continue
        if isinstance(value, str):
            parts.append(value)
        else:
            number = f"{value:g}" if isinstance(value, float) else str(value)
            parts.append(words.get(name) or f"{marks.get(name, name)}{number}")
    return "-".join(parts)


def settings_of_weights(settings: ChildSettings) -> dict[str, Any]:
    """Returns the settings that the weights of a child depend on."""
    without = set(_NO_EFFECT_ON_WEIGHTS)
    if settings.patience:  # the validations decide when training stops
        without.remove("validate_every")
    return settings.model_dump(exclude=without)


def overfits(result: Mapping[str, Evaluation]) -> bool:
    """Tells whether the training error is far below the validation error, beyond chance."""
    if "train" not in result or "val" not in result:
        return False
    train, val = result["train"], result["val"]
    return val.interval[0] > train.interval[1] and val.error - train.error > _NOTABLE_GAP


def looks_at_test(run: Path) -> int:
    """Counts the trained networks of a run whose error on the test split has been seen."""
    looked_at = {
        (child.record.id, str(settings_of_weights(child.record.settings)))  # a copy is no other
        for child in finished_children(run)
        if "test" in child.result or child.record.settings.validate_on == "test"
    }
    return len(looked_at)
