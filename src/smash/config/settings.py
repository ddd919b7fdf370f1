"""Settings: frozen models that are checked when they are made, and read and written as TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from smash.errors import InvalidValueError, RunStateError, faults_of
from smash.io.files import read_text
from smash.io.records import faults_in


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
        ...     steps: int = 10
        ...     seed: int = 0
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
                # The rules among valid fields, but not those on a field that is wrong already.
                faults += [
                    each
                    for each in faults_of(lambda: type(self)(**rest))
                    if wrong.isdisjoint(re.findall(r"\w+", each))
                ]
            raise InvalidValueError(*faults) from None

    @classmethod
    def _fields(cls, names: Iterable[str | int]) -> list[FieldInfo]:
        return [cls.model_fields[str(name)] for name in names if name in cls.model_fields]

    def rules(self) -> list[str]:
        """Returns the faults that only the values together, or a registry, can tell."""
        return []

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_values(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuses true and false where a number is meant, which pydantic takes for 1 and 0."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        if _holds_truth_values(value) and not _takes_truth_values(annotation):
            raise PydanticCustomError("truth_value", "must not be true or false")
        return value

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


def _holds_truth_values(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_truth_values, value))
    return isinstance(value, bool)


def _takes_truth_values(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(map(_takes_truth_values, get_args(annotation)))


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
