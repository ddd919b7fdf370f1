"""Where images live while a device works with them: on it if they fit, else in main memory."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

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
