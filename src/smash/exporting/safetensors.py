"""A network as its weights, with a description of the network as JSON beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from smash.config import SpaceSettings
from smash.errors import DataError, NotFoundError, RunStateError, reason_of
from smash.exporting.signature import ShippedNetwork, Signature
from smash.io.files import read_json, require, write_json
from smash.io.tensors import load_tensors, save_tensors
from smash.run.layout import ARCHITECTURE
from smash.spaces import make_space
from smash.spaces.baselines import make_baseline


def write_safetensors(
    child: nn.Module, signature: Signature, description: Mapping[str, Any], path: Path
) -> None:
    """Writes the weights of a network, and ``architecture.json`` beside them.

    Args:
        child: The network.
        signature: Its input and its classes.
        description: An ``architecture`` of a ``space``, or the name of a ``baseline``.
        path: The file of the weights.
    """
    write_weights(child.state_dict(), signature, path)
    write_json(path.with_name(ARCHITECTURE), {**description, **asdict(signature)})


def write_weights(weights: Mapping[str, Tensor], signature: Signature, path: Path) -> None:
    """Writes weights, with the signature in the metadata."""
    save_tensors(path, weights, {"signature": asdict(signature)})


def read_safetensors(path: Path) -> tuple[ShippedNetwork, Signature]:
    """Reads a network that `write_safetensors` wrote, in eval mode on the CPU.

    Raises:
        DataError: The signature is unusable.
        NotFoundError: ``architecture.json`` is not beside the file.
        RunStateError: A file is damaged, or the two do not belong together.
    """
    described = path.with_name(ARCHITECTURE)
    if not described.is_file():
        raise NotFoundError(
            f"{path} needs {ARCHITECTURE} beside it, which describes its network: 'smash export' "
            "writes both, copy both"
        )
    description = read_json(described)
    try:
        signature = Signature.from_json(json.dumps(description))
    except DataError as error:
        raise DataError(*(f"{described}: {fault}" for fault in error.faults)) from None
    child = _build(description, described, signature)
    tensors, _ = load_tensors(path)
    try:
        child.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunStateError(
            f"{path} does not fit the {ARCHITECTURE} beside it: {reason_of(error)}"
        ) from None
    return ShippedNetwork(child, signature).eval(), signature


def _build(description: Mapping[str, Any], described: Path, signature: Signature) -> nn.Module:
    if "baseline" in description:
        require(description, described, baseline=str)
        return make_baseline(description["baseline"], signature.task, "cpu")
    require(description, described, architecture=dict, space=dict)
    settings = SpaceSettings(**description["space"])
    space = make_space(settings, signature.task.dims).bind(signature.task)
    return space.build(space.from_json(description["architecture"]), signature.task, "cpu")
