"""Pieces of Python: a value as code, put together with as few brackets as it can."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from smash.errors import InvalidValueError
from smash.exporting.recording import Value

OPERATORS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
    "matmul": "@",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
    "and": "&",
    "or": "|",
    "xor": "^",
}
"""Signs of operators, by the names that torch has for their functions."""

_BINDING = {"**": 4, "-x": 3, "*": 2, "/": 2, "//": 2, "%": 2, "@": 2, "+": 1, "-": 1}
_METHODS = {"div": "/", "true_divide": "/"}
_DEFAULTS = {"ceil_mode": False, "device": None, "layout": None, "out": None}


def _infix_functions() -> dict[Any, tuple[str, bool]]:
    """Methods of a tensor that are operators: the sign, and whether the tensor is on its right."""
    found = {getattr(Tensor, name): (sign, False) for name, sign in _METHODS.items()}
    for word, sign in OPERATORS.items():
        for name, right in ((word, False), (f"__{word}__", False), (f"__r{word}__", True)):
            if hasattr(Tensor, name):
                found.setdefault(getattr(Tensor, name), (sign, right))
    return found


INFIX = _infix_functions()
"""Functions that are written as operators: the sign, and whether the tensor is on its right."""


@dataclass(frozen=True)
class Expression:
    """Python that gives a value.

    Attributes:
        text: The code.
        reads: The values whose variables it reads, in order.
        depth: How many calls are inside each other.
        sign: The operator that it is, if it is one and not in brackets.
    """

    text: str
    reads: tuple[Value, ...] = ()
    depth: int = 0
    sign: str = ""


def together(text: str, inner: Sequence[Expression]) -> Expression:
    """Code that stands around that of others, and reads what they read."""
    reads = tuple(value for one in inner for value in one.reads)
    return Expression(text, reads, max((one.depth for one in inner), default=0))


def infix(sign: str, args: Sequence[Expression]) -> Expression:
    """Two operands with an operator between them, in brackets only where it needs them."""
    left, right = args[:2]
    binding = _BINDING.get(sign, 0)
    # From the left, but for powers and comparisons, which are put in brackets.
    before = binding if binding in (1, 2) else math.inf
    first = left.text if _BINDING.get(left.sign, 0) >= before else operand(left)
    second = right.text if _BINDING.get(right.sign, 0) > binding else operand(right)
    found = together(f"{first} {sign} {second}", [left, right])
    return Expression(found.text, found.reads, found.depth, sign)


def operand(expression: Expression) -> str:
    """Code that can stand beside any operator, before a dot or before brackets."""
    return f"({expression.text})" if expression.sign else expression.text


def ends(value: slice) -> tuple[Any, Any, Any]:
    """Start, stop and step of a slice."""
    return value.start, value.stop, value.step


def literal(value: Any) -> str:
    """A constant as code.

    Raises:
        InvalidValueError: It cannot be written as code.
    """
    if value is Ellipsis:
        return "..."
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, str):
        return json.dumps(value)
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
        return str(value)
    if isinstance(value, torch.device):
        return f'torch.device("{value}")'
    if isinstance(value, slice):
        return f"slice({', '.join(map(literal, ends(value)))})"
    raise InvalidValueError(
        f"a {type(value).__name__} is used in a forward, which cannot be written as code: export "
        "it as .onnx or .safetensors"
    )


def is_default(function: Callable[..., Any], name: str, value: Any) -> bool:
    """Whether an argument can be left out, since its value is the default."""
    if name == "device" and isinstance(value, torch.device):
        return value.type == "cpu"
    try:
        default = inspect.signature(function).parameters[name].default
    except (ValueError, TypeError, KeyError):  # written in C
        default = _DEFAULTS.get(name, inspect.Parameter.empty)
    return default is value or (isinstance(value, int | float | str) and default == value)
