"""Descriptions of settings, from which the command line and the documentation are made."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from smash.config.settings import Option, Settings


@dataclass(frozen=True, kw_only=True)
class FieldDescription:
    """A setting, as the command line and the documentation show it.

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
        >>> from smash.config import DataSettings
        >>> [field.name for field in describe(DataSettings)][:3]
        ['source', 'fingerprint', 'duplicates']
    """
    own = [name for name in settings.__annotations__ if name in settings.model_fields]
    fields = dict.fromkeys([*own, *settings.model_fields])
    return [_describe(name, settings.model_fields[name]) for name in fields]


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
    words += "".join(map(_bound, (*field.metadata, *bounds)))
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


def _bound(constraint: Any) -> str:
    match constraint:
        case Ge(ge=least):
            return f" ≥ {least}"
        case Gt(gt=least):
            return f" > {least}"
        case Le(le=most):
            return f" ≤ {most}"
        case Lt(lt=most):
            return f" < {most}"
    return ""


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
