"""Records: what is written to a file and read back, one model for each kind of file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)
from pydantic_core import ErrorDetails

from smash.errors import InvalidValueError, RunStateError, unknown
from smash.io.files import read_json, write_json

_MOST_FAULTS = 10

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[int, Field(ge=0, lt=2**63)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Number = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: value if math.isfinite(value) else None),
]
"""A float that may be undefined: NaN in memory, null in JSON."""


class Record(BaseModel):
    """A record of a file; values that are read are checked before they are used.

    Example:
        >>> class Point(Record):
        ...     x: int
        >>> Point.parse({"x": "one"}, Path("point.json"))
        Traceback (most recent call last):
        smash.errors.RunStateError: point.json is damaged: x must be a whole number, got 'one'
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        defer_build=True,
        protected_namespaces=(),
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any], path: Path) -> Self:
        """Makes a record of what a file holds.

        Args:
            values: The content of the file.
            path: The file, for the message.

        Raises:
            RunStateError: The content is not such a record.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = faults_in(error, cls)[:_MOST_FAULTS]
            raise RunStateError(*(f"{path} is damaged: {fault}" for fault in faults)) from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the record of a JSON file.

        Raises:
            RunStateError: The file is damaged or is no regular file.
        """
        return cls.parse(read_json(path), path)

    def write(self, path: Path) -> None:
        """Writes the record as a JSON file; values of None are left out."""
        write_json(path, self.model_dump(exclude_none=True))


class Interval(Record):
    """A statistic with its 95% confidence interval.

    Attributes:
        value: The statistic.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: Number
    low: Number
    high: Number

    @property
    def is_defined(self) -> bool:
        """Whether the statistic has a value."""
        return math.isfinite(self.value)


_RULES = {
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "too_short": "must have at least {min_length} value",
    "literal_error": "must be {expected}",
}


def faults_in(error: ValidationError, settings: type[BaseModel]) -> list[str]:
    """Words the faults that pydantic found in the values of a model."""
    faults: list[str] = []
    for detail in error.errors():
        name = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "value_error" and isinstance(
            cause := detail["ctx"]["error"], InvalidValueError
        ):
            faults += cause.faults
        elif detail["type"] == "extra_forbidden":
            faults.append(unknown("setting", name, settings.model_fields))
        elif detail["type"] == "literal_error" and isinstance(detail["input"], str):
            choices = re.findall("'(.*?)'", detail["ctx"]["expected"])
            faults.append(unknown(name, detail["input"], choices))
        elif detail["type"] == "missing":
            faults.append(f"{name} is missing")
        else:
            faults.append(f"{name} {_rule(detail)}, got {detail['input']!r:.200}")
    return faults


def _rule(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind.startswith(("greater_than", "less_than")) and _is_nan(detail["input"]):
        kind = "finite_number"
    rule = _RULES.get(kind)
    if rule is None:
        return detail["msg"].replace("Input should be", "must be")
    return rule.format(**detail.get("ctx", {}))


def _is_nan(value: object) -> bool:
    """Tells NaN, which is neither too large nor too small."""
    return str(value).strip().lower() == "nan"
