"""Devices: choice, precision, memory, and moving data to them."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from smash.errors import InvalidValueError
from smash.runtime.names import Precision, check_device


def choose_device(name: str = "auto") -> torch.device:
    """Chooses a device; ``auto`` takes a GPU if there is one.

    Raises:
        InvalidValueError: The name is unknown, or this machine has no such device.
    """
    kind, colon, index = check_device(name).partition(":")
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
        return torch.device(next(device for device, is_present in present.items() if is_present))
    if not present[kind]:
        raise InvalidValueError(f"device {name!r} does not exist here: use --device cpu, or auto")
    return torch.device(name)


def machine_name(device: torch.device) -> str:
    """Names the GPU or CPU of a device, such as ``AMD EPYC``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()


@cache
def _cpu_name() -> str:
    # On Linux, `platform` knows only the architecture.
    try:
        found = re.search(r"^model name\s*:\s*(\S.*)", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def autocast(device: torch.device, precision: Precision = "auto") -> AbstractContextManager[object]:
    """Gives the context in which torch computes in a precision.

    Args:
        device: The device of the tensors.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``auto`` for bfloat16 on a GPU, else float32.
    """
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" else "fp32"
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def gradient_scaler(device: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """Makes the scaler that keeps float16 gradients from vanishing; it is off otherwise."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


SHARE = 0.4
"""Share of a device's free memory that images may fill; networks need the rest."""


def place(stored: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Moves images to a device, all of them or none.

    Args:
        stored: Tensors of images; a tensor that is listed twice is moved once.
        device: The device that computes.

    Returns:
        The tensors in the same order. They stay where they are if they would fill more than
        `SHARE` of the device's free memory.
    """
    distinct = {id(images): images for images in stored}
    size = sum(images.nbytes for images in distinct.values() if images.device != device)
    free = free_memory(device)
    if free is not None and size > SHARE * free:
        return list(stored)
    moved = {key: images.to(device) for key, images in distinct.items()}
    return [moved[id(images)] for images in stored]


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Moves a tensor to a device, without making a GPU wait."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def free_memory(device: torch.device) -> int | None:
    """Measures the free memory of a GPU, in bytes; None for a CPU."""
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserved
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None
