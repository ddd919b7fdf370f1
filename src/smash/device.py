"""Where things are computed, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from smash.errors import InvalidValueError, unknown

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str = "auto") -> torch.device:
    """Chooses a device; ``auto`` takes a GPU where there is one.

    Raises:
        InvalidValueError: The name is not known, or there is no such device.
    """
    kind = name.partition(":")[0]
    if kind not in DEVICES:
        raise InvalidValueError(unknown("device", name, DEVICES))
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if kind == "auto":
        return torch.device(next(device for device, is_there in present.items() if is_there))
    if not present[kind]:
        raise InvalidValueError(f"device {name!r} is not there: use --device cpu, or auto")
    return torch.device(name)


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Half precision where it pays: bfloat16 on a GPU; nothing on a CPU."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()
