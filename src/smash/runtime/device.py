"""Where things are computed, and in which precision."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from smash.errors import InvalidValueError, unknown

Precision = Literal["auto", "fp32", "bf16", "fp16"]
DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str = "auto") -> torch.device:
    """Chooses a device; ``auto`` takes a GPU where there is one.

    Raises:
        InvalidValueError: The name is not known, or there is no such device.
    """
    kind, colon, index = name.partition(":")
    if kind not in DEVICES:
        raise InvalidValueError(unknown("device", name, DEVICES))
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if colon and index not in map(str, range(count)):
        raise InvalidValueError(
            f"device {name!r} must have an index from 0 to {max(count, 1) - 1}: use {kind}"
        )
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if kind == "auto":
        return torch.device(next(device for device, is_there in present.items() if is_there))
    if not present[kind]:
        raise InvalidValueError(f"device {name!r} does not exist here: use --device cpu, or auto")
    return torch.device(name)


def machine_name(device: torch.device) -> str:
    """The name of the GPU, or of the CPU, that computes on a device: ``AMD EPYC``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()


@cache
def _cpu_name() -> str:
    """On Linux `platform` knows the architecture alone."""
    try:
        found = re.search(r"^model name\s*:\s*(\S.*)", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def autocast(device: torch.device, precision: Precision = "auto") -> AbstractContextManager[object]:
    """Computes in half precision where it is asked for.

    Args:
        device: Where it is computed.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``auto``: bfloat16 on a GPU, else float32.
    """
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" else "fp32"
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def gradient_scaler(device: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """Scales the loss where gradients in float16 would vanish; elsewhere it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


SHARE = 0.4
"""Share of a device's free memory that images may fill: the rest is for networks."""


def place(stored: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Moves images to a device, all of them or none.

    Args:
        stored: Tensors of images; one that is there twice is moved once.
        device: Where work is done.

    Returns:
        The tensors, in that order; as they are where they would take more than `SHARE` of the
        memory that is free on the device.
    """
    distinct = {id(images): images for images in stored}
    size = sum(images.nbytes for images in distinct.values() if images.device != device)
    free = free_memory(device)
    if free is not None and size > SHARE * free:
        return list(stored)
    moved = {key: images.to(device) for key, images in distinct.items()}
    return [moved[id(images)] for images in stored]


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Moves what was made on the CPU to a device; a GPU's own work goes on meanwhile."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def free_memory(device: torch.device) -> int | None:
    """Memory of a device that nothing uses, in bytes; None where that is of no matter."""
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserved
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None


def main_memory() -> int | None:
    """The main memory of this machine, in bytes; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on every system
        return None
