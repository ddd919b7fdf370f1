"""Tensors and their metadata in safetensors files with a checksum."""

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
from smash.io.files import check_regular, named_errors, parse_json, write_atomically

_CHECKSUM = "sha256"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Writes tensors and their metadata atomically as one safetensors file.

    The same content gives the same bytes. For that the metadata is one entry, ``about``, which
    includes the checksum: safetensors writes several entries in random order.

    Args:
        path: The file.
        tensors: The tensors by name.
        about: The metadata, as JSON.
    """
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({**about, _CHECKSUM: _checksum(flat, about)})
    write_atomically(path, safetensors.torch.save(flat, {"about": text}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the tensors and the metadata that `save_tensors` wrote.

    Raises:
        RunStateError: The file is truncated or altered.
    """
    check_regular(path)
    try:
        with named_errors(path), safetensors.safe_open(path, "pt") as file:
            text = (file.metadata() or {})["about"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = parse_json(text)
    except (safetensors.SafetensorError, TypeError, KeyError, ValueError, RuntimeError) as error:
        raise RunStateError(f"{path} is damaged: {error}") from None
    if not isinstance(about, dict):
        raise RunStateError(f"{path} is damaged: its metadata must be an object, got {about!r:.60}")
    checksum = about.pop(_CHECKSUM, None)  # files of other programs have none
    if checksum is not None and checksum != _checksum(tensors, about):
        raise RunStateError(f"{path} is damaged: its checksum does not match its content")
    return tensors, about


def _checksum(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(about).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
