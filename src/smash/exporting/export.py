"""Exporting a trained child: written apart, run, compared, and only then put in its place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from smash.errors import AlreadyExistsError, InvalidValueError
from smash.exporting.onnx import OnnxNetwork, check_packages, write_onnx
from smash.exporting.parity import Parity, check_parity, run_apart
from smash.exporting.safetensors import read_safetensors, write_safetensors, write_weights
from smash.exporting.signature import Signature
from smash.exporting.standalone import write_code
from smash.io.files import make_folder, sync_folder
from smash.run.child import Child
from smash.run.layout import ARCHITECTURE

_Network = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Export:
    """An export that computes what its child computes.

    Attributes:
        files: The files that it is made of; the one that was asked for is the first.
        parity: How near it comes to the child.
    """

    files: tuple[Path, ...]
    parity: Parity


def export(
    child: Child | str | Path, to: str | Path | None = None, *, force: bool = False
) -> Export:
    """Writes a trained child as a file that needs nothing of its run, and compares the two.

    The file takes float32 (8-bit values divided by 255, in 0…1; else values in the units of the
    training data), normalises them itself and gives logits.

    Args:
        child: The child, or its folder.
        to: The file: ``.onnx``, ``.safetensors`` or ``.py``; by default ``model.onnx`` in the
            child's folder.
        force: Whether to write over files that are there.

    Raises:
        AlreadyExistsError: A file is there already.
        InvalidValueError: The child cannot be written in this format.
        MissingExtraError: The packages for ONNX are not installed.
        ParityError: What was written differs from the child; no file is left.
    """
    if not isinstance(child, Child):
        child = Child.open(child)
    path = Path(to) if to is not None else child.path / "model.onnx"
    files = files_of(path)
    if path.suffix == ".safetensors" and path.absolute().parent == child.path.absolute():
        raise InvalidValueError(
            f"{child.path} has its weights and {ARCHITECTURE} already, and 'smash predict' takes "
            "the folder as it is: export to another folder"
        )
    signature, network = signature_of(child), child.model(torch.device("cpu"))
    about = {name: value for name, value in child.about.items() if name not in ("mean", "std")}
    if "baseline" not in about:
        about["space"] = child.run.settings.space.model_dump(exclude_none=True)
    return export_network(network, signature, about, path, kept=_own(child, files), force=force)


def signature_of(child: Child) -> Signature:
    """What a trained child takes and gives."""
    return Signature.from_json(json.dumps({**child.about, **child.takes}))


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that an export is made of, the one that is asked for first.

    Raises:
        InvalidValueError: There is no such format.
    """
    others = {
        ".onnx": (),
        ".py": (path.with_suffix(".safetensors"),),
        ".safetensors": (path.with_name(ARCHITECTURE),),
    }
    if path.suffix not in others:
        raise InvalidValueError(
            f"to must end in {', '.join(FORMATS)}, which say in what format to export, "
            f"got {str(path)!r}"
        )
    return path, *others[path.suffix]


def check_place(
    path: Path, kept: tuple[Path, ...] = (), *, force: bool = False
) -> tuple[Path, ...]:
    """Makes sure that an export can be written, and gives its files; see `export_network`.

    Raises:
        AlreadyExistsError: A file is there already.
        InvalidValueError: There is no such format.
        MissingExtraError: The packages for it are not installed.
    """
    files = files_of(path)
    if path.suffix == ".onnx":
        check_packages()
    there = [str(file) for file in files if file.exists() and file not in kept]
    if there and not force:
        raise AlreadyExistsError(
            f"{' and '.join(there)} already there and kept: choose another place, or add --force"
        )
    return files


def export_network(
    child: nn.Module,
    signature: Signature,
    about: Mapping[str, Any],
    path: Path,
    *,
    kept: tuple[Path, ...] = (),
    force: bool = False,
) -> Export:
    """Writes a network, and compares what was written with it.

    Args:
        child: Maps normalised images to logits; in eval mode, on the CPU.
        signature: What it takes and gives.
        about: What it is; see `write_safetensors`.
        path: The file.
        kept: Files that are there already as they would be written.
        force: Whether to write over files that are there.

    Raises:
        AlreadyExistsError: A file is there already.
        ParityError: What was written differs from the child; no file is left.
    """
    files = check_place(path, kept, force=force)
    make_folder(path.absolute().parent)
    with TemporaryDirectory(prefix=".export-", dir=path.absolute().parent) as folder:
        made = Path(folder) / path.name
        run = _WRITERS[path.suffix](child, signature, about, made)
        parity = check_parity(run, child, signature, path.name)
        for file in files[::-1]:  # the one that needs the others is there last
            if file not in kept:
                _sync(made.with_name(file.name))
                made.with_name(file.name).replace(file)
    sync_folder(path.absolute().parent)
    return Export(files, parity)


def _own(child: Child, files: tuple[Path, ...]) -> tuple[Path, ...]:
    """The child's own weights, which code beside them may load."""
    own = child.path.absolute() / "model.safetensors"
    return tuple(file for file in files if file.absolute() == own)


def _write_onnx(
    child: nn.Module, signature: Signature, about: Mapping[str, Any], path: Path
) -> _Network:
    write_onnx(child, signature, about, path)
    return OnnxNetwork(path)


def _write_safetensors(
    child: nn.Module, signature: Signature, about: Mapping[str, Any], path: Path
) -> _Network:
    write_safetensors(child, signature, about, path)
    network, _ = read_safetensors(path)
    return torch.no_grad()(network)


def _write_standalone(
    child: nn.Module, signature: Signature, about: Mapping[str, Any], path: Path
) -> _Network:
    weights = path.with_suffix(".safetensors")
    title = f"Child network {about.get('id', '')}, which smash has found and trained."
    path.write_text(write_code(child, signature, title, weights.name), encoding="utf-8")
    write_weights(child.state_dict(), signature, weights)
    return lambda images: run_apart(path, images)


_WRITERS: dict[str, Callable[[nn.Module, Signature, Mapping[str, Any], Path], _Network]] = {
    ".onnx": _write_onnx,
    ".py": _write_standalone,
    ".safetensors": _write_safetensors,
}

FORMATS = tuple(_WRITERS)
"""What a file that is exported may end in."""


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
