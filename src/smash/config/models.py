"""The settings of data, spaces, trainings and runs, which several verbs share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from smash.config.length import Length
from smash.config.settings import Option, Settings
from smash.errors import InvalidValueError
from smash.io.units import Bytes
from smash.runtime.names import Precision, check_device

MOST = 2**63 - 1
"""The largest whole number of any setting: files and other libraries hold no larger ones."""

Count = Annotated[int, Field(ge=1, le=MOST)]
Seed = Annotated[int, Field(ge=0, le=MOST)]
Epochs = Annotated[int, Field(ge=1, le=10**6)]
Minutes = Annotated[float, Field(gt=0, le=60 * 24 * 365)]  # a year
PathText = Annotated[
    str, BeforeValidator(lambda path: str(path) if isinstance(path, Path) else path)
]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _check_device(name: str) -> str:
    check_device(name)
    if name not in ("auto", "cpu"):
        from smash.runtime.device import choose_device

        choose_device(name)
    return name


def _check_address(address: str) -> str:
    from smash.runtime.ray_executor import check_address

    check_address(address)
    return address


def fold_numbers(fold: str) -> tuple[int, int]:
    """Reads ``K/N`` as the number of a fold, from 1, and that of all folds.

    Raises:
        InvalidValueError: It is not of this form, or there is no such fold.

    Example:
        >>> fold_numbers("2/5")
        (2, 5)
    """
    found = re.fullmatch(r"([1-9]\d?)/([1-9]\d?)", fold)
    number, folds = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= folds or folds < 2:
        raise InvalidValueError(
            "test_fold must be K/N, the K-th of N parts, such as 2/5, with N of 2 to 99, "
            f"got {fold!r:.200}"
        )
    return number, folds


def _check_fold(fold: str) -> str:
    fold_numbers(fold)
    return fold


Fold = Annotated[str, AfterValidator(_check_fold)]
"""One of several equal parts of the data, as `fold_numbers` reads it."""

Device = Annotated[str, AfterValidator(_check_device)]
"""A device that this machine has; torch is imported only to look for a GPU."""

RayAddress = Annotated[
    Annotated[str, AfterValidator(_check_address)] | None, Option(metavar="auto|local|HOST:PORT")
]

_TEST_FRACTION, _MOST_SET_APART = 0.15, 0.9


class LoadSettings(Settings):
    """Settings for reading data and cutting it into splits.

    Example:
        >>> LoadSettings(val_fraction=0.2, dims=2).given()
        {'dims': 2, 'val_fraction': 0.2}
    """

    image_size: Annotated[
        int | None, Field(ge=4, le=4096), Option(default="the common size, or at most 64")
    ] = None
    """Side that images are resized to, in pixels."""

    features: Annotated[Literal["log-mel", "raw"] | None, Option(default="log-mel")] = None
    """Form of recordings: log-mel spectrograms or raw waveforms."""

    sample_rate: Annotated[
        int | None, Field(ge=1000, le=400_000), Option(default="that of the files, at most 16,000")
    ] = None
    """Rate that recordings are resampled to, in Hz."""

    seconds: Annotated[
        float | None, Field(gt=0, le=600), Option(default="that of 19 of 20 files, at most 10")
    ] = None
    """Length that recordings are cut or padded to, at both ends."""

    dims: Annotated[int | None, Field(ge=1, le=3)] = None
    """Number of spatial axes of an ambiguous .npz: 1, 2 or 3."""

    channels: Literal["none", "first", "last"] | None = None
    """Position of the axis of channels in an ambiguous .npz."""

    window: Annotated[int | None, Field(ge=4, le=MOST), Option(default="128")] = None
    """Rows of a window, in a table of time series."""

    stride: Annotated[Count | None, Option(default="half a window")] = None
    """Rows from the beginning of a window to that of the next."""

    label: Annotated[str | None, Option(metavar="COLUMN", default="label, class, …")] = None
    """Column of the labels, in a table of time series."""

    columns: Annotated[tuple[str, ...], Option(metavar="A,B,…", default="all of numbers")] = ()
    """Columns of the channels, in a table of time series."""

    val_fraction: Fraction = 0.1
    """Share of the training split that is set apart for validation."""

    test_fraction: Fraction = _TEST_FRACTION
    """Share of all examples that is set apart for testing, where there is no test split."""

    test_fold: Annotated[Fold | None, Option(metavar="K/N")] = None
    """The K-th of N equal parts to test on instead; N runs, each with another, test on all data."""

    val_order: Literal["stratified", "last"] = "stratified"
    """Validation examples: a fair share of each class, or the last of the training split."""

    augment: Annotated[bool | None, Option(default="what suits the data")] = None
    """Shift and flip training images."""

    data_dir: Annotated[PathText | None, Option(metavar="FOLDER", default="SMASH_DATA")] = None
    """Folder of named data sets."""

    fold: Annotated[int | None, Field(ge=0, le=10), Option(default="all of them")] = None
    """Part of STL-10's training examples, 0 to 9; 10 takes all."""

    groups: Annotated[PathText | None, Option(metavar="CSV|folders|COLUMN")] = None
    """Groups whose examples stay in one split, such as patients: a CSV of file and group, the
    folders inside class folders, or a column of a table."""

    group_pattern: Annotated[str | None, Option(metavar="REGEX")] = None
    """Pattern whose match in the path of a file, or its first group, names the group."""

    drop_duplicates: bool = False
    """Leave out training examples that are also in the validation or the test split."""

    def rules(self) -> list[str]:
        """Limits what is set apart, and compiles the pattern of groups."""
        faults = []
        tested = (
            self.test_fraction if self.test_fold is None else 1 / fold_numbers(self.test_fold)[1]
        )
        if self.val_fraction + tested >= _MOST_SET_APART:
            what = "test_fraction" if self.test_fold is None else "the share of test_fold"
            faults.append(
                f"val_fraction and {what} must add up to less than {_MOST_SET_APART}, got "
                f"{self.val_fraction} and {tested:.4g}"
            )
        if self.test_fold is not None and self.test_fraction != _TEST_FRACTION:
            faults.append("test_fold and test_fraction exclude each other: leave one of them out")
        if self.groups is not None and self.group_pattern is not None:
            faults.append("groups and group_pattern exclude each other: leave one of them out")
        try:
            re.compile(self.group_pattern or "")
        except re.error as error:
            faults.append(f"group_pattern {self.group_pattern!r:.200} must be a regex: {error}")
        return faults


class DataSettings(LoadSettings):
    """Settings that identify the data of a run, and those that read it."""

    source: str
    """A registered name, or the path of a folder or a file."""

    fingerprint: str = ""
    """Identifies the examples, so that a run does not continue with others."""

    duplicates: str = ""
    """Examples whose pixels are in two splits, in words; empty where there are none."""


class SpaceSettings(Settings):
    """Settings that define a search space."""

    name: str = "memory-bank"
    """Name of the space."""

    preset: str | None = None
    """Name of a preset of its options, where the space has presets."""

    options: dict[str, Any] = Field(default={})
    """Options that differ from the preset's."""

    source: str = ""
    """Digest of the source of a space that is code of the user."""


class LoopSettings(Settings):
    """The settings that all trainings share. Learning rates and decay are per step, as torch's.

    Example:
        >>> LoopSettings(learning_rate=0.1).batch_size
        50
    """

    batch_size: Annotated[int, Field(ge=2, le=MOST)] = 50
    """Examples per step."""

    learning_rate: Positive
    """Learning rate at the start."""

    weight_decay: NotNegative = 1e-4
    """Weight decay."""

    augment: bool = True
    """Shift and flip training images where the data says so."""

    precision: Precision = "auto"
    """Numeric precision; auto is bf16 on a GPU and fp32 elsewhere."""

    class_weights: bool = False
    """Weigh classes in the loss by their inverse frequency."""

    validate_every: Annotated[int, Field(ge=0, le=MOST)] = 1
    """Epochs between validations; 0 validates at the end only."""

    validate_on: Literal["val", "test"] = "val"
    """Split to validate on. Validating on test spoils the test; only the original did."""

    keep_every: Count | None = None
    """Epochs between kept copies of the weights."""


_BY_SPACE = Option(default="depends on the space")


class TrainingSettings(LoopSettings):
    """Settings of the training of a SMASH network."""

    batch_size: Annotated[
        int,
        Field(ge=2, le=MOST),
        Option(default="50 for memory banks, 32 for nas-bench-201, else 64"),
    ] = 50
    """Examples per step, in each process."""

    optimizer: Annotated[Literal["adam", "sgd"], _BY_SPACE] = "adam"
    """Adam with the published β and ε, or SGD with Nesterov momentum."""

    learning_rate: Annotated[Positive, _BY_SPACE] = 1e-3
    """Learning rate at the start."""

    schedule: Annotated[Literal["cosine", "constant"], _BY_SPACE] = "cosine"
    """Learning rate schedule: a cosine to 0, or constant."""

    weight_decay: Annotated[NotNegative, _BY_SPACE] = 1e-4
    """Weight decay of the shared weights. The hypernetwork has none."""

    clip_norm: Annotated[Positive | None, _BY_SPACE] = None
    """Largest norm of the gradient of a step, to which longer ones are shortened."""

    fixed_norms: Annotated[bool, _BY_SPACE] = False
    """Keep the BatchNorms of the shared weights at the identity."""

    snapshots: Annotated[Count, Option(default="6 for nas-bench-201, else 1")] = 1
    """Networks of the second half of training that rank together, with the last one."""

    proxy_size: Annotated[int | None, Field(ge=4, le=MOST), _BY_SPACE] = None
    """Longest side of the images that the SMASH network learns and ranks from."""

    proxy_space: Annotated[bool, _BY_SPACE] = False
    """Learn and rank with the smaller children of the space's proxy."""

    growing: Annotated[bool, _BY_SPACE] = True
    """Begin with small architectures, which grow over the first half of training."""

    augment: Annotated[
        bool, Option(default="what suits the data; off in short trainings of mobile and functions")
    ] = True
    """Shift and flip training images."""

    same_architecture: bool = False
    """Draw the same architecture in all processes at each step."""

    max_params: Count | None = None
    """Most parameters of the children that the network learns with, and of those searched."""

    max_macs: Count | None = None
    """Likewise, most multiply-accumulates for one input."""

    max_memory: Annotated[Bytes | None, Option(metavar="SIZE")] = None
    """Likewise, most RAM for activations in int8, such as 64KiB."""

    max_flash: Annotated[Bytes | None, Option(metavar="SIZE")] = None
    """Likewise, most flash for weights and graph in int8, such as 100KB."""


class TrainingPlan(TrainingSettings):
    """Training settings of a run, with its length."""

    length: Length
    """Training steps."""

    minutes: Minutes | None = None
    """Time that the length is kept to, where a time was asked for."""

    processes: Count = 1
    """Number of processes that train together; each takes `batch_size` examples per step."""

    @property
    def snapshot_steps(self) -> set[int]:
        """The steps after which a network is kept to rank beside the last one."""
        return self.length.snapshot_steps(self.snapshots)


class RunSettings(Settings):
    """The resolved settings of a run: its ``config.toml``."""

    seed: Seed = 0
    """Seed of everything that is drawn."""

    device: str = "cpu"
    """Device of the training."""

    hypernet: str = "convolutional"
    """Source of the weights of children."""

    data: DataSettings
    """The data."""

    space: SpaceSettings
    """The search space."""

    training: TrainingPlan
    """The training of the SMASH network."""


AUGMENTED_EPOCHS = 10
"""Epochs from which children learn from augmented examples: so short a training hardly overfits,
and augmentation only slows it down. See benchmarks/notes/winner.md.
"""


class ChildSettings(LoopSettings):
    """Settings of the training of a child network; the defaults are the published recipe.

    Example:
        >>> ChildSettings(patience=3, validate_every=0)
        Traceback (most recent call last):
        smash.errors.InvalidValueError: patience 3 needs validations, ...
    """

    init: Literal["scratch", "generated"] = "scratch"
    """Initial weights: drawn anew, or generated by the SMASH network."""

    recipe: Literal["published", "modern"] = "published"
    """Training recipe; the modern one adds smoothed labels, averaged weights, a warm-up, and mixup
    where it augments."""

    epochs: Epochs = 30
    """Passes over the training split."""

    minutes: Minutes | None = None
    """Time to train each child for, instead of epochs."""

    patience: Count | None = None
    """Epochs without a lower validation error after which training stops."""

    learning_rate: Positive = 0.1
    """Learning rate of SGD with Nesterov momentum 0.9, before a cosine to 0."""

    weight_decay: NotNegative = 1e-4
    """Weight decay of all parameters; with the modern recipe, not of norms and biases."""

    seed: Seed = 0
    """Seed of weights, order and augmentation."""

    augment: Annotated[bool, Option(default=f"from {AUGMENTED_EPOCHS} epochs on")] = True
    """Shift and flip training images where the data says so."""

    @model_validator(mode="after")
    def _suit_length(self) -> Self:
        short = self.minutes is None and self.epochs < AUGMENTED_EPOCHS
        if short and "augment" not in self.model_fields_set:
            self.__dict__["augment"] = False  # not as a given value: a longer copy is augmented
        return self

    @property
    def length_in_words(self) -> str:
        """The length of the training, such as 30 epochs."""
        count, unit = (self.epochs, "epoch") if self.minutes is None else (self.minutes, "minute")
        return f"{count:g} {unit}{'s' * (count != 1)}"

    @property
    def child(self) -> ChildSettings:
        """The settings of the training alone, without those that a subclass adds."""
        fields = self.model_fields_set & ChildSettings.model_fields.keys()
        return ChildSettings(**self.model_dump(include=fields))

    def rules(self) -> list[str]:
        """Requires validations, and not on the test split, for stopping early."""
        faults = []
        if self.patience is not None and not self.validate_every:
            faults.append(
                f"patience {self.patience} needs validations, got validate_every 0: validate every "
                "epoch, or leave patience out"
            )
        if self.patience is not None and self.validate_on == "test":
            faults.append(
                f"patience {self.patience} must not choose by the test split, got validate_on "
                "'test': validate on val, or leave patience out"
            )
        return faults
