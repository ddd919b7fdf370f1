"""Settings: frozen models that are checked when they are made, and read and written as TOML.

One model for each verb holds all that the verb can be asked for. The docstring under a field is the
help of its option on the command line and its row in the documentation's table of settings.
"""

from __future__ import annotations

import re
import tomllib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from smash.errors import InvalidValueError, RunStateError, faults_of
from smash.io.files import read_text
from smash.io.records import faults_in
from smash.runtime.names import Precision, check_device

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
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


Device = Annotated[str, AfterValidator(_check_device)]
"""A device that this machine has; torch is imported only to look for a GPU."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """Says how a field is shown where its name, type and default alone do not say it.

    Attributes:
        flags: Flags of its option, instead of ``--field-name``.
        metavar: Placeholder of its value in the help.
        default: Words for a default that depends on other settings.
    """

    flags: tuple[str, ...] = ()
    metavar: str = ""
    default: str = ""


class Settings(BaseModel):
    """A group of settings; wrong values raise `InvalidValueError` with all faults at once.

    Example:
        >>> class Walk(Settings):
        ...     steps: Count = 10
        ...
        ...     seed: Seed = 0
        >>> Walk(steps=3).replaced(seed=1).given()
        {'steps': 3, 'seed': 1}
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, defer_build=True
    )

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            wrong = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
            faults = faults_in(error, type(self))
            rest = {name: value for name, value in values.items() if name not in wrong}
            if wrong and not any(each.is_required() for each in self._fields(wrong)):
                faults += faults_of(lambda: type(self)(**rest))  # the rules among valid fields
            raise InvalidValueError(*faults) from None

    @classmethod
    def _fields(cls, names: Iterable[str | int]) -> list[FieldInfo]:
        return [cls.model_fields[str(name)] for name in names if name in cls.model_fields]

    def rules(self) -> list[str]:
        """Returns the faults that only the values together, or a registry, can tell."""
        return []

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        faults = self.rules()
        if faults:
            raise InvalidValueError(*faults)
        return self

    def replaced(self, /, **changes: Any) -> Self:
        """Copies the settings with some values changed; the copy is checked like any other."""
        return type(self)(**{**self.model_dump(exclude_unset=True), **changes})

    @classmethod
    def merged(cls, settings: Self | None, changes: Mapping[str, Any]) -> Self:
        """Combines the two ways of asking: a settings object, and keyword arguments.

        Args:
            settings: The settings; the defaults if None.
            changes: Fields that replace those of `settings`.

        Raises:
            InvalidValueError: `settings` is something else, or values are wrong.
        """
        if settings is None:
            return cls(**changes)
        if not isinstance(settings, cls):
            raise InvalidValueError(
                f"settings must be {cls.__name__}, got {settings!r:.200}: pass single settings by "
                "keyword"
            )
        return settings.replaced(**changes) if changes else settings

    def given(self) -> dict[str, Any]:
        """Returns the values that were set explicitly; None counts as not set."""
        return self.model_dump(exclude_unset=True, exclude_none=True)

    def to_toml(self) -> str:
        """Formats the settings as TOML; values of None are left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Reads what `to_toml` wrote.

        Raises:
            RunStateError: The file is not TOML or holds other settings.
        """
        try:
            return cls(**tomllib.loads(read_text(path)))
        except (ValueError, RecursionError, InvalidValueError) as error:
            lines = str(error).splitlines()
            raise RunStateError(*(f"{path} is damaged: {line}" for line in lines)) from None


def refuse_changes(
    before: Mapping[str, Any], now: Mapping[str, Any], *, since: str, mend: str
) -> None:
    """Refuses to continue work with settings other than those that it began with.

    Args:
        before: The settings that the work began with.
        now: The settings that are asked for now.
        since: The event that fixed the settings, as in "run 'x' was made".
        mend: Tells the user what to do.

    Raises:
        RunStateError: A setting differs.
    """
    faults = [
        f"{name} was {before.get(name)} when {since}, got {value}: {mend}"
        for name, value in now.items()
        if before.get(name) != value
    ]
    if faults:
        raise RunStateError(*faults)


_MOST_SET_APART = 0.9


class LoadSettings(Settings):
    """How data is read and cut into splits."""

    image_size: Annotated[
        int | None, Field(ge=4, le=4096), Option(default="the common size, or at most 64")
    ] = None
    """Side that images are resized to, in pixels."""

    features: Literal["log-mel", "raw"] | None = None
    """Form of recordings: log-mel spectrograms, the default, or raw waveforms."""

    sample_rate: Annotated[
        int | None, Field(ge=1000, le=400_000), Option(default="that of the files, at most 16,000")
    ] = None
    """Rate that recordings are resampled to, in Hz."""

    seconds: Annotated[
        float | None, Field(gt=0, le=600), Option(default="that of 19 of 20 files, at most 10")
    ] = None
    """Length that recordings are cut or padded to, at both ends."""

    dims: Annotated[int | None, Field(ge=1, le=3)] = None
    """Number of spatial axes of an .npz: 1, 2 or 3, where the file is ambiguous."""

    channels: Literal["none", "first", "last"] | None = None
    """Position of the axis of channels in an .npz, where the file is ambiguous."""

    window: Annotated[int | None, Field(ge=4), Option(default="128")] = None
    """Rows of a window, in a table of time series."""

    stride: Annotated[Count | None, Option(default="half a window")] = None
    """Rows from the beginning of a window to that of the next."""

    label: Annotated[str | None, Option(metavar="COLUMN", default="label, class, …")] = None
    """Column of the labels, in a table of time series."""

    columns: Annotated[tuple[str, ...], Option(metavar="A,B,…", default="all of numbers")] = ()
    """Columns of the channels, in a table of time series."""

    val_fraction: Fraction = 0.1
    """Share of the training split that is set apart to validate on and to rank architectures."""

    test_fraction: Fraction = 0.15
    """Share of all examples that is set apart to test on, where the data has no test split."""

    val_order: Literal["stratified", "last"] = "stratified"
    """Examples to validate on: a fair share of each class, or the last of the training split."""

    augment: Annotated[bool | None, Option(default="what suits the data")] = None
    """Shift and flip training images."""

    data_dir: Annotated[PathText | None, Option(metavar="FOLDER", default="SMASH_DATA")] = None
    """Folder of named data sets."""

    fold: Annotated[int | None, Field(ge=0, le=10), Option(default="all of them")] = None
    """Part of STL-10's training examples, 0 to 9; 10 takes all."""

    groups: Annotated[PathText | None, Option(metavar="CSV|folders|COLUMN")] = None
    """Groups whose examples stay in one split, such as patients: a CSV of file and group; folders,
    the folders inside class folders; or a column of a table. An .npz has them under 'groups'."""

    group_pattern: Annotated[str | None, Option(metavar="REGEX")] = None
    """Pattern whose match in the path of a file, or its first group, names the group of examples
    that stay in one split."""

    drop_duplicates: bool = False
    """Leave out training examples whose pixels are also in the validation or the test split."""

    def rules(self) -> list[str]:
        """Limits what is set apart, and compiles the pattern of groups."""
        faults = []
        if self.val_fraction + self.test_fraction >= _MOST_SET_APART:
            faults.append(
                f"val_fraction and test_fraction must add up to less than {_MOST_SET_APART}, got "
                f"{self.val_fraction} and {self.test_fraction}"
            )
        if self.groups is not None and self.group_pattern is not None:
            faults.append("groups and group_pattern exclude each other: leave one of them out")
        try:
            re.compile(self.group_pattern or "")
        except re.error as error:
            faults.append(f"group_pattern {self.group_pattern!r:.200} must be a regex: {error}")
        return faults


class DataSettings(LoadSettings):
    """Which data, and how it is read and cut."""

    source: str
    """A registered name, or the path of a folder or a file."""

    fingerprint: str = ""
    """Identifies the examples, so that a run does not continue with others."""

    duplicates: str = ""
    """Examples whose pixels are in two splits, in words; empty where there are none."""


class SpaceSettings(Settings):
    """Which search space."""

    name: str = "memory-bank"
    """Name of the space."""

    preset: str | None = None
    """Name of a preset of its options, where the space has presets."""

    options: dict[str, Any] = {}
    """Options that differ from the preset's."""

    source: str = ""
    """Digest of the source of a space that is code of the user."""


class LoopSettings(Settings):
    """The settings that all trainings share. Learning rates and decay are per step, as torch's."""

    batch_size: Annotated[int, Field(ge=2)] = 50
    """Examples per step."""

    learning_rate: Positive
    """Learning rate at the start."""

    weight_decay: NotNegative = 1e-4
    """Weight decay."""

    augment: bool = True
    """Shift and flip training images where the data says so."""

    precision: Precision = "auto"
    """Numeric precision; auto is bf16 on a GPU and fp32 elsewhere. With fp16 the loss is scaled."""

    class_weights: bool = False
    """Weigh classes in the loss by their inverse frequency."""

    validate_every: Annotated[int, Field(ge=0)] = 1
    """Epochs between validations; 0 validates after the last epoch only."""

    validate_on: Literal["val", "test"] = "val"
    """Split to validate on. Validating on test spoils the test; only the original did."""

    keep_every: Count | None = None
    """Epochs between kept copies of the weights."""


_BY_SPACE = Option(default="depends on the space")


class TrainingSettings(LoopSettings):
    """How a SMASH network is trained."""

    batch_size: Annotated[int, Field(ge=2), Option(default="50; 32 for nas-bench-201")] = 50
    """Examples per step, in each process."""

    optimizer: Annotated[Literal["adam", "sgd"], _BY_SPACE] = "adam"
    """Adam with the published β and ε, or SGD with Nesterov momentum."""

    learning_rate: Annotated[Positive, _BY_SPACE] = 1e-3
    """Learning rate at the start."""

    schedule: Annotated[Literal["cosine", "constant"], _BY_SPACE] = "cosine"
    """Learning rate schedule: a cosine to 0, or constant."""

    weight_decay: Annotated[NotNegative, _BY_SPACE] = 1e-4
    """Weight decay of the shared weights. The hypernetwork has none."""

    fixed_norms: Annotated[bool, _BY_SPACE] = False
    """Keep the BatchNorms of the shared weights at the identity. Learned ones compensate for what
    an architecture lacks, and hide it."""

    snapshots: Annotated[Count, Option(default="4 for nas-bench-201, else 1")] = 1
    """Number of networks that rank together: the last, and earlier ones from the second half of
    training. At a constant rate each network wobbles, and their mean does not."""

    proxy_size: Annotated[int | None, Field(ge=4), _BY_SPACE] = None
    """Longest side of the images that the SMASH network learns and ranks from. Children are trained
    at the size of the data."""

    proxy_space: Annotated[bool, _BY_SPACE] = False
    """Learn and rank with the smaller children of the space's proxy. Children are trained as the
    space builds them."""

    growing: Annotated[bool, _BY_SPACE] = True
    """Begin with small architectures that grow over the first half of training, where the space
    supports it. Otherwise all sizes are drawn from the start."""

    augment: Annotated[bool, Option(default="what suits the data")] = True
    """Shift and flip training images. They are augmented as the data says."""

    same_architecture: bool = False
    """With several processes, draw the same architecture in all of them at each step."""

    max_params: Count | None = None
    """Most parameters of the children that the SMASH network learns with; the search takes it
    over."""

    max_macs: Count | None = None
    """Most multiply-accumulates of these children for one input; the search takes it over."""


class TrainingPlan(TrainingSettings):
    """How the SMASH network of a run is trained, with its length fixed."""

    steps: Count
    """Training steps in all."""

    minutes: Positive | None = None
    """Time that `steps` were measured for, where a time was asked for."""

    processes: Count = 1
    """Number of processes that train together; each takes `batch_size` examples per step."""

    @property
    def snapshot_steps(self) -> set[int]:
        """The steps after which a network is kept to rank beside the last one."""
        apart = (index * self.steps // (2 * self.snapshots) for index in range(1, self.snapshots))
        return {self.steps - each for each in apart if each}


class RunSettings(Settings):
    """The resolved settings of a run: its ``config.toml``."""

    seed: Seed = 0
    """Seed of everything that is drawn."""

    device: str = "cpu"
    """Device of the training."""

    hypernet: str = "convolutional"
    """Source of the weights of children."""

    data: DataSettings
    """Which data."""

    space: SpaceSettings
    """Which search space."""

    training: TrainingPlan
    """How the SMASH network is trained."""


class ChildSettings(LoopSettings):
    """How a child network is trained; the defaults are the published recipe."""

    init: Literal["scratch", "generated"] = "scratch"
    """Initial weights: drawn anew, or generated by the SMASH network."""

    recipe: Literal["published", "modern"] = "published"
    """The training recipe. The modern one adds smoothed labels, mixup, averaged weights and a
    warm-up, and does not decay norms and biases."""

    epochs: Count = 30
    """Passes over the training split."""

    patience: Count | None = None
    """Epochs without a lower validation error after which training stops. The best weights are
    kept."""

    learning_rate: Positive = 0.1
    """Learning rate of SGD with Nesterov momentum 0.9, at the start of a cosine to 0."""

    weight_decay: NotNegative = 1e-4
    """Weight decay of all parameters; with the modern recipe, not of norms and biases."""

    seed: Seed = 0
    """Seed of weights, order and augmentation."""

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


@dataclass(frozen=True, kw_only=True)
class FieldDescription:
    """One setting, as the command line and the documentation show it.

    Attributes:
        name: Name of the field.
        kind: The Python type of its value, or of each of its values: bool, int, float, str or
            dict.
        many: Whether it takes several values.
        choices: The values that are allowed, where there are few.
        type: Its type in words, such as ``int ≥ 1`` or ``adam | sgd``.
        default: Its default in words; empty if there is none.
        help: The docstring under it.
        option: How the command line spells it.
    """

    name: str
    kind: type
    many: bool
    choices: tuple[str, ...]
    type: str
    default: str
    help: str
    option: Option


def describe(settings: type[Settings]) -> list[FieldDescription]:
    """Describes the fields of a settings model, inherited ones last.

    Example:
        >>> [field.name for field in describe(DataSettings)][:3]
        ['source', 'fingerprint', 'duplicates']
    """
    own = [name for name in settings.__annotations__ if name in settings.model_fields]
    fields = dict.fromkeys([*own, *settings.model_fields])
    return [_describe(name, settings.model_fields[name]) for name in fields]


_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"))


def _describe(name: str, field: FieldInfo) -> FieldDescription:
    option = next((each for each in field.metadata if isinstance(each, Option)), Option())
    kind, bounds = _unwrap(field.annotation)
    many = get_origin(kind) in (tuple, list)
    if many:
        kind, more = _unwrap(get_args(kind)[0])
        bounds += more
    choices: tuple[str, ...] = ()
    if get_origin(kind) is Literal:
        choices, kind = get_args(kind), str
    kind = get_origin(kind) or kind
    words = " | ".join(choices) or kind.__name__
    for each in (*field.metadata, *bounds):
        found = [f" {sign} {getattr(each, of)}" for of, sign in _BOUNDS if hasattr(each, of)]
        words += "".join(found)
    return FieldDescription(
        name=name,
        kind=kind,
        many=many,
        choices=choices,
        type=words,
        default=option.default or _default_words(field),
        help=re.sub(r"\s+", " ", field.description or ""),
        option=option,
    )


def _unwrap(annotation: Any) -> tuple[Any, list[Any]]:
    """Takes the type out of ``X | None`` and ``Annotated[X, …]``, and gives the annotations too."""
    if get_origin(annotation) is Annotated:
        inner, metadata = _unwrap(annotation.__origin__)
        for each in annotation.__metadata__:
            metadata += each.metadata if isinstance(each, FieldInfo) else [each]
        return inner, metadata
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [each for each in get_args(annotation) if each is not types.NoneType]
        return _unwrap(inner[0]) if len(inner) == 1 else (str, [])
    return annotation, []


def _default_words(field: FieldInfo) -> str:
    if field.is_required() or field.default in (None, (), {}):
        return ""
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
