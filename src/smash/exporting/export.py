"""Exports a trained child: writes it to a temporary name, runs it, compares it, then moves it."""

from __future__ import annotations

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
from smash.exporting.parity import Parity, check_parity, run_isolated
from smash.exporting.safetensors import read_safetensors, write_safetensors, write_weights
from smash.exporting.signature import Signature
from smash.exporting.standalone import find_source, write_code
from smash.io.files import make_folder, sync_folder
from smash.run.child import Child
from smash.run.layout import ARCHITECTURE, MODEL

Network = Callable[[torch.Tensor], torch.Tensor]
Description = Mapping[str, Any]


@dataclass(frozen=True)
class Export:
    """An export that agrees with its child.

    Attributes:
        files: Its files, beginning with the one that was asked for.
        parity: The difference between its logits and those of the child.
    """

    files: tuple[Path, ...]
    parity: Parity


def export(
    child: Child | str | Path, to: str | Path | None = None, *, force: bool = False
) -> Export:
    """Writes a trained child as a file that runs without its run folder, and compares the two.

    The exported network takes float32 (8-bit values divided by 255, in 0…1, or values in the units
    of the training data), normalises them itself and gives logits.

    Args:
        child: The child, or its folder.
        to: The file: ``.onnx``, ``.safetensors`` or ``.py``; by default ``model.onnx`` in the
            child's folder.
        force: Whether to overwrite existing files.

    Raises:
        AlreadyExistsError: A file exists.
        InvalidValueError: The child cannot be written in this format.
        MissingExtraError: The packages for ONNX are not installed.
        ParityError: The export differs from the child; no file is left.
    """
    if not isinstance(child, Child):
        child = Child.open(child)
    path = Path(to) if to is not None else child.path / "model.onnx"
    if path.suffix == ".safetensors" and path.absolute().parent == child.path.absolute():
        raise InvalidValueError(
            f"{child.path} holds its weights and {ARCHITECTURE} already, and 'smash predict' takes "
            "the folder itself: export to another folder"
        )
    signature, network = signature_of(child), child.model(torch.device("cpu"))
    description = child.record.model_dump(exclude={"mean", "std"}, exclude_none=True)
    if "baseline" not in description:
        description["space"] = child.run.settings.space.model_dump(exclude_none=True)
    weights = child.path.absolute() / MODEL  # Code beside them may load the child's own weights.
    kept = tuple(file for file in files_of(path) if file.absolute() == weights)
    return export_network(network, signature, description, path, kept=kept, force=force)


def signature_of(child: Child) -> Signature:
    """Gives the signature of a trained child."""
    return Signature.from_json(child.record.model_dump_json())


def files_of(path: Path) -> tuple[Path, ...]:
    """Lists the files of an export, beginning with the one that was asked for.

    Raises:
        InvalidValueError: The suffix is no format.
    """
    others = {
        ".onnx": (),
        ".py": (path.with_suffix(".safetensors"),),
        ".safetensors": (path.with_name(ARCHITECTURE),),
    }
    if path.suffix not in others:
        raise InvalidValueError(
            f"to must end in a format, {', '.join(FORMATS)}, got {str(path)!r}: add one of these"
        )
    return path, *others[path.suffix]


def check_place(
    path: Path, kept: tuple[Path, ...] = (), *, force: bool = False
) -> tuple[Path, ...]:
    """Checks that an export can be written, and lists its files; see `export_network`.

    Raises:
        AlreadyExistsError: A file exists.
        InvalidValueError: The suffix is no format.
        MissingExtraError: The packages for the format are not installed.
    """
    files = files_of(path)
    if path.suffix == ".onnx":
        check_packages()
    existing = [str(file) for file in files if file.exists() and file not in kept]
    if existing and not force:
        raise AlreadyExistsError(
            f"{' and '.join(existing)} already exists: choose another name, or add --force to "
            "overwrite"
        )
    return files


def export_network(
    child: nn.Module,
    signature: Signature,
    description: Description,
    path: Path,
    *,
    kept: tuple[Path, ...] = (),
    force: bool = False,
) -> Export:
    """Writes a network, and compares the file with it.

    Args:
        child: Maps normalised images to logits; in eval mode, on the CPU.
        signature: Its input and its classes.
        description: An ``architecture`` of a ``space``, or the name of a ``baseline``.
        path: The file.
        kept: Existing files that already have the right content.
        force: Whether to overwrite existing files.

    Raises:
        AlreadyExistsError: A file exists.
        ParityError: The file differs from the child; no file is left.
    """
    files = check_place(path, kept, force=force)
    make_folder(path.absolute().parent)
    with TemporaryDirectory(prefix=".export-", dir=path.absolute().parent) as folder:
        written = Path(folder) / path.name
        run = _WRITERS[path.suffix](child, signature, description, written)
        parity = check_parity(run, child, signature, path.name)
        for file in files[::-1]:  # The file that needs the others comes last.
            if file not in kept:
                _sync(written.with_name(file.name))
                written.with_name(file.name).replace(file)
    sync_folder(path.absolute().parent)
    return Export(files, parity)


def _write_onnx(
    child: nn.Module, signature: Signature, description: Description, path: Path
) -> Network:
    write_onnx(child, signature, description, path)
    return OnnxNetwork(path)


def _write_safetensors(
    child: nn.Module, signature: Signature, description: Description, path: Path
) -> Network:
    write_safetensors(child, signature, description, path)
    network, _ = read_safetensors(path)
    return torch.no_grad()(network)


def _write_standalone(
    child: nn.Module, signature: Signature, description: Description, path: Path
) -> Network:
    weights = path.with_suffix(".safetensors")
    title = f"Network {description.get('id', '')}, found and trained with smash-nas."
    source = find_source(child, description, signature.task)
    path.write_text(write_code(source, signature, title, weights.name), encoding="utf-8")
    write_weights(child.state_dict(), signature, weights)
    return lambda images: run_isolated(path, images, signature.classes)


_WRITERS: dict[str, Callable[[nn.Module, Signature, Description, Path], Network]] = {
    ".onnx": _write_onnx,
    ".py": _write_standalone,
    ".safetensors": _write_safetensors,
}

FORMATS = tuple(_WRITERS)
"""Suffixes of exported files."""


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
