"""tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from smash.errors import RunStateError
from smash.io.files import (
    naming,
    parse_json,
    write_atomically,
)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Writes tensors, and what there is to say about them, as one safetensors file."""
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    said = json.dumps(about)
    metadata = {"about": said, "sha256": _checksum(flat, said)}
    write_atomically(path, safetensors.torch.save(flat, metadata))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `save_tensors` wrote.

    Raises:
        RunStateError: The file is truncated or altered.
    """
    try:
        with naming(path), safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = parse_json(metadata["about"])
    except (safetensors.SafetensorError, TypeError, KeyError, ValueError, RuntimeError) as error:
        raise RunStateError(f"{path} is damaged: {error}") from None
    kept = metadata.get("sha256")  # a file of another program may have none
    if kept is not None and kept != _checksum(tensors, metadata["about"]):
        raise RunStateError(f"{path} is damaged: its content has another checksum than it says")
    if not isinstance(about, dict):
        raise RunStateError(f"{path} is damaged: it says {about!r:.60} about itself")
    return tensors, about


def _checksum(tensors: Mapping[str, Tensor], about: str) -> str:
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
