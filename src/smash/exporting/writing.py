"""The steps of a part as Python that a person would write: short names, few variables.

A value that is used once, right after it was made, is written where it is used, up to a few calls
deep. A variable is used again for what is made of it once its old value is not needed any more.
"""

from __future__ import annotations

import builtins
import keyword
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.errors import InvalidValueError
from smash.exporting.expressions import (
    INFIX,
    OPERATORS,
    Expression,
    ends,
    infix,
    is_default,
    literal,
    operand,
    together,
)
from smash.exporting.recording import Batch, Parameter, Part, Step, Value, leaves, map_structure

_DEEPEST = 3  # calls inside each other
_LONGEST = 76  # letters of what is written inside of something else
_TAKEN = frozenset({"F", "nn", "n", "self", "torch", *keyword.kwlist, *dir(builtins)})
_WORDS = {
    "add": "total",
    "radd": "total",
    "mul": "product",
    "rmul": "product",
    "cat": "joined",
    "getitem": "part",
}
_PLAIN = frozenset(
    {"act", "activation", "bn", "conv", "dropout", "fc", "linear", "norm", "pool", "relu"}
)
_CUTS = ("split", "chunk", "unbind", "tensor_split")


def body_code(part: Part, member: Callable[[str], str]) -> list[str]:
    """The statements of a part's `forward`.

    Args:
        part: The part.
        member: Gives the code for what has a path in the child, such as ``self.stem``.

    Raises:
        InvalidValueError: It does what has no name in torch.
    """
    return _Body(part, member).lines


class _Body:
    def __init__(self, part: Part, member: Callable[[str], str]) -> None:
        self.lines: list[str] = []
        self._part, self._member = part, member
        self._names: dict[Value, str] = {}
        self._pending: list[tuple[Value, Expression, int]] = []
        self._alias: dict[Value, Value] = {}
        steps = self._needed_steps()
        self._result = map_structure(self._resolve, part.result)
        used: list[tuple[int, Value]] = [
            (index, value) for index, step in enumerate(steps) for value in self._values(step)
        ]
        used += [(len(steps), one) for one in leaves(self._result) if isinstance(one, Value)]
        self._uses = Counter(value for _, value in used)
        self._last = {value: index for index, value in used}
        self._name_inputs(steps)
        for index, step in enumerate(steps):
            self._write(step, index)
        self._return(len(steps))

    def _name_inputs(self, steps: list[Step]) -> None:
        self._inputs = {}
        for name, given in self._part.inputs.items():
            if isinstance(given, Value):
                self._inputs[given] = name
            elif isinstance(given, Mapping):
                self._inputs |= {one: f"{name}[{key!r}]" for key, one in given.items()}
            else:
                self._inputs |= {one: f"{name}[{index}]" for index, one in enumerate(given)}
        self._names |= self._inputs
        if any(
            isinstance(one, Batch) for step in steps for one in leaves([step.args, step.kwargs])
        ):
            first = next(iter(self._inputs))
            self._examples = first.shape[0] // 2  # of two that it was recorded with
            self.lines.append(f"n = len({self._inputs[first]})")

    def _needed_steps(self) -> list[Step]:
        """The steps that the result depends on; those that do nothing are passed over."""
        steps = self._part.steps
        for step in steps:
            if _does_nothing(step):
                (value,) = (one for one in leaves(step.result) if isinstance(one, Value))
                whole = step.args[0]
                self._alias[value] = whole[0] if isinstance(whole, list | tuple) else whole
        needed = {self._resolve(one) for one in leaves(self._part.result)}
        all_of_them = any(step.changes for step in steps)
        kept: list[Step] = []
        for step in reversed(steps):
            gives = leaves(step.result)
            if (all_of_them or needed.intersection(gives)) and not _does_nothing(step):
                kept.append(step)
                needed.update(self._values(step))
        return kept[::-1]

    def _resolve(self, one: Any) -> Any:
        while isinstance(one, Value) and one in self._alias:
            one = self._alias[one]
        return one

    def _values(self, step: Step) -> list[Value]:
        found = map(self._resolve, leaves([step.args, step.kwargs]))
        return [one for one in found if isinstance(one, Value)]

    def _write(self, step: Step, index: int) -> None:
        values = self._values(step)
        self._settle(values, index)
        expression = self._call(step)
        if _is_long(expression, len(leaves(step.result))):
            self._settle(values, index, settle_all=True)
            expression = self._call(step)
        result, name = step.result, _name(step.function)
        if name != "__setitem__" and not _is_augmented(name):
            self._pending = [one for one in self._pending if one[0] not in values]
        if name == "__setitem__" or _is_augmented(name):
            self._settle([], index, settle_all=True)
            self.lines.append(self._call(step).text)  # of variables, for it is a statement
            if isinstance(result, Value):
                self._names[result] = self._argument(step.args[0]).text
        elif isinstance(result, Value) and self._uses[result] == 1:
            self._pending.append((result, expression, index))
        elif isinstance(result, Value):
            self._settle([], index, settle_all=True)
            self._assign(result, expression, index)
        else:
            self._settle([], index, settle_all=True)
            self._unpack(step, expression, index)

    def _settle(self, values: list[Value], index: int, settle_all: bool = False) -> None:
        """Gives variables to what waits to be used, unless exactly `values` use the last of it."""
        waiting = [value for value, _, _ in self._pending]
        wanted = [value for value in values if value in waiting]
        if settle_all or waiting[len(waiting) - len(wanted) :] != wanted:
            pending, self._pending = self._pending, []
            for value, expression, made in pending:
                self._assign(value, expression, made)

    def _assign(self, value: Value, expression: Expression, index: int) -> None:
        if not self._uses[value]:
            self.lines.append(expression.text)
            return
        name = self._reused(expression, index) or self._fresh(self._hint(value.step), index)
        self.lines.append(f"{name} = {expression.text}")
        self._names[value] = name

    def _unpack(self, step: Step, expression: Expression, index: int) -> None:
        values = leaves(step.result)
        whole = next(iter(self._values(step)), None)
        if _name(step.function) not in _CUTS or whole is None:
            base = self._hint(step)
        else:
            base = self._names.get(whole, "")
            base = base if base.isidentifier() else self._hint(whole.step)
        names = []
        for number, value in enumerate(values):
            if self._uses[value]:
                self._names[value] = self._fresh(f"{base}_{number}", index)
            names.append(self._names.get(value, "_"))
        self.lines.append(f"{', '.join(names)}{',' * (len(names) == 1)} = {expression.text}")

    def _reused(self, expression: Expression, index: int) -> str | None:
        free = [
            self._names[value]
            for value in expression.reads
            if value in self._names
            and self._last[value] <= index
            and self._names[value].isidentifier()
        ]
        inputs = set(self._inputs.values())
        name = next((name for name in free if name in inputs), free[0] if free else None)
        # What is made of an input is not the input any more, unless that has no more of a name.
        return self._fresh("x", index) if name in inputs and name != "x" else name

    def _fresh(self, hint: str, index: int) -> str:
        live = {name for value, name in self._names.items() if self._last.get(value, -1) >= index}
        live |= set(self._part.inputs)
        name = f"{hint}_" if hint in _TAKEN else hint
        number = 2
        while name in live:
            name, number = f"{hint}_{number}", number + 1
        return name

    def _hint(self, step: Step | None) -> str:
        if step is None or not isinstance(step.function, str):
            name = "" if step is None else _name(step.function).strip("_")
            return _WORDS.get(name, "y")
        parts = self._member(step.function).removeprefix("self.")
        names = parts.replace("[", ".").replace("]", "").replace("'", "").split(".")
        if names[-1].isdigit() and len(names) > 1:
            return f"{names[-2].removesuffix('s')}_{names[-1]}"
        hint = names[0] if len(names) == 2 else names[-1]
        if not hint.isidentifier() or hint.rstrip("_0123456789") in _PLAIN:
            return "y"
        return hint

    def _return(self, index: int) -> None:
        values = [one for one in leaves(self._result) if isinstance(one, Value)]
        self._settle(values, index)
        expression = self._argument(self._result)
        if len(values) > 1 and _is_long(expression):
            self._settle(values, index, settle_all=True)
            expression = self._argument(self._result)
        self.lines.append(f"return {expression.text}")

    def _call(self, step: Step) -> Expression:
        function = step.function
        args = [self._argument(one) for one in step.args]
        if isinstance(function, str):
            return self._applied(self._member(function), args, step.kwargs)
        name = _name(function)
        plain = name.strip("_")
        if torch.overrides.resolve_name(function) == f"torch.Tensor.{name}.__get__":
            return Expression(f"{operand(args[0])}.{name}", args[0].reads, args[0].depth)
        if name in ("__getitem__", "__setitem__"):
            text = f"{operand(args[0])}[{self._index(step.args[1])}]"
            expression = together(text, [args[0], self._argument(step.args[1])])
            if name == "__getitem__":
                return expression
            return together(f"{text} = {args[2].text}", args)
        if _is_augmented(name):
            sign = OPERATORS[plain[1:]]
            return together(f"{args[0].text} {sign}= {args[1].text}", args)
        if function in INFIX and len(args) == 2 and not step.kwargs:
            sign, right = INFIX[function]
            return infix(sign, args[::-1] if right else args)
        if name in ("__neg__", "neg") and len(args) == 1:
            return Expression(f"-{operand(args[0])}", args[0].reads, args[0].depth, "-x")
        kwargs = {
            key: value for key, value in step.kwargs.items() if not is_default(function, key, value)
        }
        if getattr(Tensor, name, None) is function:
            method = f"{operand(args[0])}.{name}"
            called = self._applied(method, args[1:], kwargs)
            # One method after the other reads as one thing.
            depth = max(args[0].depth + (not step.args[1:]), called.depth)
            return Expression(called.text, args[0].reads + called.reads, depth)
        for prefix, home in (("torch", torch), ("F", F)):
            if getattr(home, name, None) is function:
                return self._applied(f"{prefix}.{name}", args, kwargs)
        raise InvalidValueError(
            f"{type(self._part.module).__name__} calls {name or function!r}, which has no name in "
            "torch: export it as .onnx or .safetensors"
        )

    def _applied(
        self, function: str, args: list[Expression], kwargs: Mapping[str, Any]
    ) -> Expression:
        named = {key: self._argument(value) for key, value in kwargs.items()}
        words = [*(one.text for one in args), *(f"{key}={one.text}" for key, one in named.items())]
        inner = [*args, *named.values()]
        found = together(f"{function}({', '.join(words)})", inner)
        return Expression(found.text, found.reads, found.depth + 1)

    def _argument(self, value: Any) -> Expression:
        value = self._resolve(value)
        if isinstance(value, Value):
            for waiting, expression, _ in self._pending:
                if waiting is value:
                    return expression
            return Expression(self._names[value], (value,))
        if isinstance(value, Parameter):
            return Expression(self._member(value.name))
        if isinstance(value, Batch):
            return self._count(value)
        if isinstance(value, list | tuple):
            inner = [self._argument(one) for one in value]
            words = ", ".join(one.text for one in inner)
            if isinstance(value, list):
                return together(f"[{words}]", inner)
            return together(f"({words}{',' * (len(inner) == 1)})", inner)
        return Expression(literal(value))

    def _count(self, value: Batch) -> Expression:
        times = value.times / self._examples
        if times == 1:
            return Expression("n")
        text = f"n * {value.times // self._examples}" if times >= 1 else f"n // {round(1 / times)}"
        return Expression(text, sign="*" if times >= 1 else "//")

    def _index(self, value: Any) -> str:
        """What stands in square brackets."""
        if isinstance(value, tuple) and value:
            return ", ".join(self._index(one) for one in value) + "," * (len(value) == 1)
        if isinstance(value, slice):
            start, stop, step = (
                "" if end is None else self._argument(end).text for end in ends(value)
            )
            begin = "" if start == "0" else start
            return f"{begin}:{stop}" + (f":{step}" if step not in ("", "1") else "")
        return self._argument(value).text


def _is_long(expression: Expression, results: int = 1) -> bool:
    return expression.depth > _DEEPEST or len(expression.text) > _LONGEST - 5 * (results - 1)


def _does_nothing(step: Step) -> bool:
    """Whether a step takes all of a tensor, cuts it into one piece, or puts one together."""
    name = _name(step.function)
    if name == "__getitem__":
        return all(one == slice(None) for one in _as_tuple(step.args[1]))
    if name in _CUTS and name != "unbind":
        return len(leaves(step.result)) == 1
    whole = step.args[0] if step.args else None
    return name in ("cat", "concat") and isinstance(whole, list | tuple) and len(whole) == 1


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _name(function: Callable[..., Any] | str) -> str:
    if isinstance(function, str):
        return ""
    name = getattr(function, "__name__", "")
    if name == "__get__":  # a property, such as T
        return str(getattr(getattr(function, "__self__", None), "__name__", name))
    return str(name)


def _is_augmented(name: str) -> bool:
    plain = name.strip("_")
    return name.startswith("__i") and plain[:1] == "i" and plain[1:] in OPERATORS
