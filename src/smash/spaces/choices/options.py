"""Options of a choice: the values that are allowed, and their form in JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from smash.errors import InvalidValueError

Option = Any
"""A string, number, truth value, None, or a tuple of such."""


def checked_options(
    name: str, options: Sequence[Option], weights: Sequence[float] | None
) -> tuple[Option, ...]:
    """Makes sure that a choice has a name, and options that are plain, distinct and weighted.

    Raises:
        InvalidValueError: They are not.
    """
    if not isinstance(name, str):
        raise InvalidValueError(
            f"choice {name!r}: its name must be a string, as in choose('width {name}', …)"
        )
    if isinstance(options, str) or not isinstance(options, Iterable):
        raise InvalidValueError(
            f"choice {name!r}: options must be a tuple or a list, got {options!r:.80}"
        )
    found = tuple(options)
    if not found:
        raise InvalidValueError(f"choice {name!r} has no options: give at least one")
    for option in found:
        if not _is_plain(option):
            raise InvalidValueError(
                f"choice {name!r}: an option must be a string, a number, a truth value, None or a "
                f"tuple of these, got {option!r:.80}"
            )
    if len(set(found)) < len(found):
        raise InvalidValueError(f"choice {name!r} has an option twice: {quoted(found)}")
    if weights is not None:
        shares = list(weights)
        fit = len(shares) == len(found) and all(
            is_number(share) and 0 <= share < math.inf for share in shares
        )
        if not fit or not sum(shares) > 0:
            raise InvalidValueError(
                f"choice {name!r}: weights must be {len(found)} numbers of at least 0, not all 0, "
                f"got {shares}"
            )
    return found


def check_same_options(
    name: str, known: Sequence[Option], options: Sequence[Option], space: str = ""
) -> None:
    """Makes sure that a choice always has the same options.

    Raises:
        InvalidValueError: `options` are not those that are known.
    """
    if known != options:
        where = f"space {space!r}: " if space else ""
        raise InvalidValueError(
            f"{where}choice {name!r} was first asked with the options {quoted(known)}, then with "
            f"{quoted(options)}: give one of them another name"
        )


def is_number(option: Option) -> bool:
    """Tells whether an option is a number; a truth value is none."""
    return isinstance(option, int | float) and not isinstance(option, bool)


def are_numbers(options: Sequence[Option]) -> bool:
    """Tells whether all options are numbers, so that one of them is the largest."""
    return all(map(is_number, options))


def as_json(option: Option) -> Any:
    """Turns tuples into lists."""
    return [as_json(each) for each in option] if isinstance(option, tuple) else option


def same_json(option: Option, value: Any) -> bool:
    """Compares by JSON, which tells apart 1, 1.0 and True."""
    return json.dumps(option) == json.dumps(value)


def quoted(options: Sequence[Option]) -> str:
    """Words options for a message."""
    return ", ".join(map(repr, options))


def _is_plain(option: Option) -> bool:
    if isinstance(option, tuple):
        return all(map(_is_plain, option))
    if isinstance(option, float):
        return math.isfinite(option)
    return option is None or isinstance(option, str | int)
