"""Settings: frozen, validated where they are made, TOML in and TOML out."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from smash.errors import InvalidValueError, RunStateError, unknown


class Settings(BaseModel):
    """A group of settings. Wrong values raise `InvalidValueError` with all faults at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    def __init__(self, **values: Any) -> None:
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

    def replaced(self, **changes: Any) -> Self:
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
            return cls(**tomllib.loads(path.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, InvalidValueError) as error:
            lines = str(error).splitlines()
            raise RunStateError(*(f"{path} is damaged: {line}" for line in lines)) from None


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
            faults.append(f"{name} {_rule(detail)}, got {detail['input']!r}")
    return faults


def _rule(detail: ErrorDetails) -> str:
    rule = _RULES.get(detail["type"])
    if rule is None:
        return detail["msg"].replace("Input should be", "must be")
    return rule.format(**detail.get("ctx", {}))
