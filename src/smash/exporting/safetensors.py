"""A network as its weights, with a description of the network in the metadata of their file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from smash.config import SpaceSettings
from smash.errors import DataError, RunStateError, reason_of
from smash.exporting.signature import ShippedNetwork, Signature
from smash.io.files import require
from smash.io.tensors import load_tensors, save_tensors
from smash.spaces import make_space
from smash.spaces.baselines import make_baseline

_NETWORK = "network"  # in the metadata


def write_safetensors(
    child: nn.Module, signature: Signature, description: Mapping[str, Any], path: Path
) -> None:
    """Writes the weights of a network, described in the metadata of the file.

    Args:
        child: The network.
        signature: Its input and its classes.
        description: An ``architecture`` of a ``space``, or the name of a ``baseline``.
        path: The file of the weights.
    """
    save_tensors(path, child.state_dict(), {_NETWORK: {**description, **asdict(signature)}})


def write_weights(weights: Mapping[str, Tensor], signature: Signature, path: Path) -> None:
    """Writes weights, with the signature in the metadata."""
    save_tensors(path, weights, {"signature": asdict(signature)})


def read_safetensors(path: Path) -> tuple[ShippedNetwork, Signature]:
    """Reads a network that `write_safetensors` wrote, in eval mode on the CPU.

    Raises:
        DataError: The file describes no network.
        RunStateError: The file is damaged.
    """
    tensors, about = load_tensors(path)
    description = about.get(_NETWORK)
    if not isinstance(description, dict):
        raise DataError(
            f"{path} holds weights alone: name a file that 'smash export' wrote, or the folder of "
            "a child"
        )
    try:
        signature = Signature.from_json(json.dumps(description))
    except DataError as error:
        raise DataError(*(f"{path}: {fault}" for fault in error.faults)) from None
    child = _build(description, path, signature)
    try:
        child.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunStateError(
            f"{path} is damaged: its weights do not fit its network ({reason_of(error)}): export "
            "it again"
        ) from None
    return ShippedNetwork(child, signature).eval(), signature


def _build(description: Mapping[str, Any], path: Path, signature: Signature) -> nn.Module:
    if "baseline" in description:
        require(description, path, baseline=str)
        return make_baseline(description["baseline"], signature.task, "cpu")
    require(description, path, architecture=dict, space=dict)
    settings = SpaceSettings(**description["space"])
    space = make_space(settings, signature.task.dims).bind(signature.task)
    return space.build(space.from_json(description["architecture"]), signature.task, "cpu")
