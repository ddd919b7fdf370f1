"""Checks of the options of the space for devices.

They stand apart from the options, which are part of exported files.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from smash.config import Settings
from smash.errors import InvalidValueError
from smash.spaces.mobile.options import MobileOptions

_MOST = 2**16  # a bound on every option, larger than any real network needs


def _as_several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def _check_distinct(values: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise InvalidValueError(f"{info.field_name} must differ, got {values}: leave repeats out")
    return values


def _check_odd(kernels: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
    if even := [kernel for kernel in kernels if kernel % 2 == 0]:
        raise InvalidValueError(f"{info.field_name} must be odd, got {even[0]}")
    return kernels


T = TypeVar("T")
Several = Annotated[tuple[T, ...], BeforeValidator(_as_several), Field(min_length=1)]
"""One or more values; a value by itself counts as one."""

Distinct = Annotated[Several[T], AfterValidator(_check_distinct)]
Positive = Annotated[int, Field(ge=1, le=_MOST)]
Kernels = Annotated[Distinct[Positive], AfterValidator(_check_odd)]


class CheckedOptions(Settings):
    """The options of the space for devices, checked when they are made.

    Example:
        >>> from smash.spaces.mobile.presets import MOBILE_PRESETS
        >>> CheckedOptions(**{**vars(MOBILE_PRESETS["tiny"]), "depths": 2}).options.depths
        (2,)
    """

    stem: Distinct[Positive]
    widths: Several[Distinct[Positive]]
    strides: Several[Positive]
    depths: Distinct[Positive]
    kinds: Distinct[Literal["residual", "fused", "inverted", "separable"]]
    kernels: Kernels
    signal_kernels: Kernels
    expansions: Distinct[Positive]
    squeeze: bool
    activations: Distinct[Literal["relu", "hard-swish"]]
    heads: Distinct[Annotated[int, Field(ge=0, le=_MOST)]]
    extent: Several[tuple[Literal[1, 2, 3], Positive]]
    stem_stride: Positive | None

    def rules(self) -> list[str]:
        """Requires a stride for each stage, and an extent for each number of axes."""
        faults = []
        if len(self.widths) != len(self.strides):
            faults.append(
                f"strides must be as many as widths, a stage each: got {len(self.strides)} and "
                f"{len(self.widths)}"
            )
        if {dims for dims, _ in self.extent} != {1, 2, 3}:
            faults.append(f"extent must say one for 1, 2 and 3 axes, got {self.extent}")
        return faults

    @property
    def options(self) -> MobileOptions:
        """The options as they are exported."""
        return MobileOptions(**dict(self))
