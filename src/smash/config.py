"""Settings: frozen, validated where they are made, TOML in and TOML out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from smash.errors import InvalidValueError, RunStateError, unknown
from smash.io.files import read_text


class Settings(BaseModel):
    """A group of settings. Wrong values raise `InvalidValueError` with all faults at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidValueError(*_faults(error, type(self))) from None

    def rules(self) -> list[str]:
        """Faults in how the values fit together; each field is valid by itself."""
        return []

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        faults = self.rules()
        if faults:
            raise InvalidValueError(*faults)
        return self

    def replaced(self, /, **changes: Any) -> Self:
        """A copy with some values changed, checked like any other."""
        return type(self)(**{**self.model_dump(exclude_unset=True), **changes})

    def to_toml(self) -> str:
        """The settings as TOML; a value of None is left out."""
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
    before: Mapping[str, Any], given: Mapping[str, Any], *, since: str, mend: str
) -> None:
    """Makes sure that work goes on with the settings that it began with.

    Args:
        before: The settings that it began with.
        given: The settings that are asked for now.
        since: When the first were given.
        mend: What to do.

    Raises:
        RunStateError: A setting is another one.
    """
    faults = [
        f"{name} was {before.get(name)} when {since}, got {value}: {mend}"
        for name, value in given.items()
        if before.get(name) != value
    ]
    if faults:
        raise RunStateError(*faults)


class DataSettings(Settings):
    """Which data, and how it is cut.

    Attributes:
        source: A registered name, or the path of a folder or an ``.npz``.
        image_size: Common side that images are resized to.
        val_fraction: Part of the training split that ranks architectures.
        test_fraction: Part that is set apart where the data brings no test split.
        val_order: Which part ranks: a fair share of each class, or the last examples.
        augment: Whether training images are shifted and flipped; None leaves it to the data.
        dims: Spatial axes, where an ``.npz`` is ambiguous.
        channels: Where the channels of an ``.npz`` are, where that is ambiguous.
        data_dir: Folder that has, or gets, the files of a registered data set.
        fold: Part of STL-10's training examples, 0…9; 10 or None for all.
        fingerprint: Identifies the examples, so that a run goes on with no others.
    """

    source: str
    image_size: int | None = None
    val_fraction: float = 0.1
    test_fraction: float = 0.15
    val_order: Literal["stratified", "last"] = "stratified"
    augment: bool | None = None
    dims: Literal[1, 2, 3] | None = None
    channels: Literal["none", "first", "last"] | None = None
    data_dir: str | None = None
    fold: Annotated[int, Field(ge=0, le=10)] | None = None
    fingerprint: str = ""


class SpaceSettings(Settings):
    """Which search space.

    Attributes:
        name: Name of the space.
        preset: Name of a preset of its options, where the space has presets.
        options: Options that differ from the preset's.
    """

    name: str = "memory-bank"
    preset: str | None = None
    options: dict[str, Any] = {}


class TrainingSettings(Settings):
    """How a SMASH network is trained. Learning rates and decay are per step, as torch's are.

    Attributes:
        steps: Training steps in all; from `epochs`, or measured once for `minutes`.
        minutes: Time that `steps` were measured for, where it was asked for.
        batch_size: Examples a step.
        optimizer: ``adam`` with the published β and ε, or ``sgd`` with Nesterov momentum.
        learning_rate: At the start.
        schedule: How the learning rate goes on: ``cosine`` to 0, or ``constant``.
        weight_decay: Of the shared weights; the hypernetwork has none.
        fixed_norms: Whether BatchNorms of the shared weights stay the identity. Learned, they make
            up for what an architecture lacks, and hide it.
        snapshots: Networks that rank together: the last, and others as they were on the way, from
            the middle of training on. At a constant rate each wobbles, and their mean does not.
        proxy_size: Longest side of the images that the SMASH network learns and ranks from; None
            for that of the data. Children are trained at the size of the data.
        proxy_space: Whether the SMASH network learns and ranks with the smaller children of
            `SearchSpace.proxy`. Children are trained as the space builds them.
        growing: Whether architectures begin small and grow over the first half of training, where
            the space says how; otherwise they are of all sizes from the start.
        augment: Whether training images are shifted and flipped as the data says.
        precision: ``fp32``, ``bf16``, ``fp16`` with a scaled loss, or ``auto``: bf16 on a GPU.
        class_weights: Whether the loss weighs classes by their inverse frequency.
        validate_every: Epochs from one validation to the next; 0 for none before the last epoch.
        validate_on: Split to validate on; ``test`` only to follow the original.
        keep_every: Epochs from one kept copy of the network to the next; None keeps none.
        processes: How many processes train together; each takes `batch_size` examples a step.
        same_architecture: Whether all processes draw the same architecture in a step.
    """

    steps: Annotated[int, Field(ge=1)]
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    batch_size: Annotated[int, Field(ge=2)] = 50
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    fixed_norms: bool = False
    snapshots: Annotated[int, Field(ge=1)] = 1
    proxy_size: Annotated[int, Field(ge=4)] | None = None
    proxy_space: bool = False
    growing: bool = True
    augment: bool = True
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    class_weights: bool = False
    validate_every: Annotated[int, Field(ge=0)] = 1
    validate_on: Literal["val", "test"] = "val"
    keep_every: Annotated[int, Field(ge=1)] | None = None
    processes: Annotated[int, Field(ge=1)] = 1
    same_architecture: bool = False

    @property
    def snapshot_steps(self) -> set[int]:
        """After which steps a network is kept to rank beside the last one."""
        apart = (index * self.steps // (2 * self.snapshots) for index in range(1, self.snapshots))
        return {self.steps - each for each in apart if each}


class RunSettings(Settings):
    """All that a run of `smash train` was asked for: the run folder's ``config.toml``.

    Attributes:
        seed: Seed of everything that is drawn.
        device: Where it is computed.
        hypernet: Where the weights of children come from.
        data: Which data.
        space: Which search space.
        training: How the SMASH network is trained.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    device: str = "cpu"
    hypernet: str = "convolutional"
    data: DataSettings
    space: SpaceSettings
    training: TrainingSettings


class RetrainSettings(Settings):
    """How a child network is trained; the defaults are the published recipe.

    Attributes:
        init: Where the weights begin: drawn anew (``scratch``), or ``generated``.
        recipe: ``published``, or ``modern``: see `smash.training.optim`.
        epochs: Passes over the training split.
        patience: Epochs without a lower validation error after which training stops, and the best
            weights are kept; None trains to the end.
        batch_size: Examples a step.
        learning_rate: Of SGD with Nesterov momentum 0.9, at the start of a cosine to 0.
        weight_decay: Of all parameters; with ``modern``, of those but norms and biases.
        seed: Seed of weights, order and augmentation.
        augment: Whether training images are shifted and flipped as the data says.
        precision: ``fp32``, ``bf16``, ``fp16`` with a scaled loss, or ``auto``: bf16 on a GPU.
        class_weights: Whether the loss weighs classes by their inverse frequency.
        validate_every: Epochs from one validation to the next; 0 for none before the last epoch.
        validate_on: Split to validate on; ``test`` only to follow the original.
        keep_every: Epochs from one kept copy of the weights to the next; None keeps none.
    """

    init: Literal["scratch", "generated"] = "scratch"
    recipe: Literal["published", "modern"] = "published"
    epochs: Annotated[int, Field(ge=1)] = 30
    patience: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=2)] = 50
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    seed: Annotated[int, Field(ge=0)] = 0
    augment: bool = True
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    class_weights: bool = False
    validate_every: Annotated[int, Field(ge=0)] = 1
    validate_on: Literal["val", "test"] = "val"
    keep_every: Annotated[int, Field(ge=1)] | None = None

    def rules(self) -> list[str]:
        """Stopping early needs validations, and must not look at the test split."""
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


_RULES = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "literal_error": "must be {expected}",
    "missing": "is missing",
}


def _faults(error: ValidationError, settings: type[BaseModel]) -> list[str]:
    faults: list[str] = []
    for detail in error.errors():
        name = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "value_error" and isinstance(
            cause := detail["ctx"]["error"], InvalidValueError
        ):
            faults += cause.faults
        elif detail["type"] == "extra_forbidden":
            faults.append(unknown("setting", name, settings.model_fields))
        else:
            faults.append(f"{name} {_rule(detail)}, got {detail['input']!r:.200}")
    return faults


def _rule(detail: ErrorDetails) -> str:
    rule = _RULES.get(detail["type"])
    if rule is None:
        return detail["msg"].replace("Input should be", "must be")
    return rule.format(**detail.get("ctx", {}))
