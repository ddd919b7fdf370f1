"""Sizes and times with their units, as people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from smash.errors import InvalidValueError

_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "KiB": 2**10, "MiB": 2**20}


def parse_time(text: str, name: str = "time") -> float:
    """Reads a time with its unit, such as ``5ms`` or ``0.005s``, in seconds.

    Raises:
        InvalidValueError: The text is not a positive time with a unit; says so of `name`.
    """
    seconds = _number(text, _TIMES)
    if not 0 < seconds < math.inf:
        raise InvalidValueError(
            f"{name} must be a positive time with its unit, such as 5ms or 0.005s, got {text!r:.60}"
        )
    return seconds


def parse_size(text: str, name: str = "size") -> int:
    """Reads a number of bytes, such as ``64KiB``, ``100KB`` or ``65536``; rounds it down.

    Raises:
        InvalidValueError: The text is not a positive size; says so of `name`.
    """
    size = _number(text, _SIZES)
    if not 1 <= size < 2**63:
        raise InvalidValueError(
            f"{name} must be a positive number of bytes, or of KB, KiB, MB or MiB, such as 64KiB, "
            f"got {text!r:.60}"
        )
    return int(size)


def _number(text: str, units: Mapping[str, float]) -> float:
    match = re.fullmatch(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*([^\W\d]*)\s*", text)
    factors = {unit.lower(): factor for unit, factor in units.items()}
    try:
        return float(match[1]) * factors[match[2].lower()] if match else math.nan
    except (KeyError, ValueError):
        return math.nan


def _time(value: Any, info: ValidationInfo) -> Any:
    return parse_time(value, info.field_name or "time") if isinstance(value, str) else value


def _size(value: Any, info: ValidationInfo) -> Any:
    return parse_size(value, info.field_name or "size") if isinstance(value, str) else value


Seconds = Annotated[float, BeforeValidator(_time), Field(gt=0, allow_inf_nan=False)]
"""Seconds, given as a number or as `parse_time` reads it."""

Bytes = Annotated[int, BeforeValidator(_size), Field(ge=1, lt=2**63)]
"""Bytes, given as a number or as `parse_size` reads it."""
