"""Names of devices and precisions, without torch."""

from __future__ import annotations

from typing import Literal

from smash.errors import InvalidValueError, unknown

Precision = Literal["auto", "fp32", "bf16", "fp16"]
DEVICES = ("auto", "cpu", "cuda", "mps")


def check_device(name: str) -> str:
    """Checks the kind of a device, such as ``cuda:1``; `choose_device` checks that it is here.

    Raises:
        InvalidValueError: The name is unknown.
    """
    if name.partition(":")[0] not in DEVICES:
        raise InvalidValueError(unknown("device", name, DEVICES))
    return name
