"""Export of a trained child: written to a temporary name, run, compared, then moved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smash.errors import AlreadyExistsError, InvalidValueError, faults_of
from smash.exporting.executorch import read_executorch, write_executorch
from smash.exporting.formats import INT8, files_of
from smash.exporting.onnx import (
    OnnxNetwork,
    OnnxVersion,
    check_opset,
    version_of,
    write_onnx,
)
from smash.exporting.packages import check_packages
from smash.exporting.parity import Parity, check_parity, run_isolated
from smash.exporting.program import read_program, write_program
from smash.exporting.quantisation import Quantisation, compare, quantise
from smash.exporting.safetensors import read_safetensors, write_safetensors, write_weights
from smash.exporting.signature import Signature
from smash.exporting.standalone import find_source, write_code
from smash.io.files import make_folder, named_errors, sync_folder
from smash.io.locks import temporary_folder
from smash.run.child import Child
from smash.run.layout import ARCHITECTURE, MODEL
from smash.runtime.progress import Progress, automatic
from smash.training.quantised import fine_tune_for_int8

Runner = Callable[[Sequence[torch.Tensor]], Iterable[torch.Tensor]]  # of batches
Description = Mapping[str, Any]


@dataclass(frozen=True)
class Export:
    """An export that agrees with its child.

    Attributes:
        files: Its files, beginning with the one that was asked for.
        parity: The difference between its logits and those of the child; of int8, before it was
            quantised.
        quantisation: The cost of int8, for a file in int8.
        version: Versions of the operators and the format, for ONNX.

    Example:
        >>> parity = Parity(difference=2e-6, allowed=1e-4, batches=(1, 5))
        >>> Export((Path("model.onnx"),), parity).files[0].name
        'model.onnx'
    """

    files: tuple[Path, ...]
    parity: Parity
    quantisation: Quantisation | None = None
    version: OnnxVersion | None = None


def export(
    child: Child | str | Path,
    to: str | Path | None = None,
    *,
    force: bool = False,
    opset: int | None = None,
    quantise_epochs: int = 0,
    max_loss: float | None = None,
    progress: Progress = automatic,
) -> Export:
    """Writes a trained child as a file that runs without its run folder, and compares the two.

    The exported network takes float32 (8-bit values divided by 255, in 0…1, or values in the units
    of the training data), normalises them itself and gives logits.

    Args:
        child: The child, or its folder.
        to: The file: ``.onnx``, ``.int8.onnx``, ``.pte``, ``.pt2``, ``.safetensors`` or ``.py``;
            by default ``model.onnx`` in the child's folder.
        force: Whether to overwrite existing files.
        opset: Version of the operators of ONNX; None for the exporter's own.
        quantise_epochs: Epochs in which a copy of the child is fine-tuned for int8.
        max_loss: Largest increase of the validation error by int8, 0…1; None for any.
        progress: Shows how far fine-tuning is.

    Raises:
        AlreadyExistsError: A file exists.
        InvalidValueError: The child cannot be written in this format, or an option is not for it.
        MissingExtraError: The packages for the format are not installed.
        ParityError: The export differs from the child, or int8 loses more than `max_loss`; no file
            is left.

    Example:
        >>> from smash import retrain
        >>> made = export(retrain("runs/digits", rank=0, epochs=1), "digits.onnx")
        >>> made.parity.difference <= made.parity.allowed
        True
    """
    if not isinstance(child, Child):
        child = Child.open(child)
    path = Path(to) if to is not None else child.path / "model.onnx"
    if path.suffix == ".safetensors" and path.absolute().parent == child.path.absolute():
        raise InvalidValueError(
            f"{child.path} holds its weights and {ARCHITECTURE} already, and 'smash predict' takes "
            "the folder itself: export to another folder"
        )
    description = child.record.model_dump(exclude={"mean", "std"}, exclude_none=True)
    if "baseline" not in description:
        description["space"] = child.run.settings.space.model_dump(exclude_none=True)
    _check_options(path, opset, {"max_loss": max_loss, "quantise_epochs": quantise_epochs or None})
    if path.name.endswith(INT8):
        files = check_place(path, force=force)
        with _place(files) as folder:
            return _export_int8(
                child, description, folder / path.name, files, opset, quantise_epochs, max_loss,
                progress,
            )  # fmt: skip
    weights = child.path.absolute() / MODEL  # Code beside them may load the child's own weights.
    kept = tuple(file for file in files_of(path) if file.absolute() == weights)
    network = child.model(torch.device("cpu"))
    return export_network(
        network, signature_of(child), description, path, kept=kept, force=force, opset=opset
    )


def _check_options(path: Path, opset: int | None, of_int8: Mapping[str, Any]) -> None:
    """Checks that options are for the format of a file.

    Raises:
        InvalidValueError: One is not, or the opset cannot be written.
    """
    faults = [
        f"{name} is for int8, got to {str(path)!r}: export to a name that ends in {INT8}"
        for name, value in of_int8.items()
        if value is not None and not path.name.endswith(INT8)
    ]
    if opset is not None and path.suffix != ".onnx":
        faults.append(f"opset is for ONNX, got to {str(path)!r}: export to a name ending in .onnx")
    elif opset is not None:
        faults += faults_of(lambda: check_opset(opset))
    if faults:
        raise InvalidValueError(*faults)


def signature_of(child: Child) -> Signature:
    """Gives the signature of a trained child."""
    return Signature.from_json(child.record.model_dump_json())


def check_place(
    path: Path, kept: tuple[Path, ...] = (), *, force: bool = False
) -> tuple[Path, ...]:
    """Checks that an export can be written, and lists its files; see `export_network`.

    Raises:
        AlreadyExistsError: A file exists.
        InvalidValueError: The suffix is no format, or the folder takes no files.
        MissingExtraError: The packages for the format are not installed.
    """
    files = files_of(path)
    check_packages(path.suffix)
    _check_folder(path)
    existing = [str(file) for file in files if file.exists() and file not in kept]
    if existing and not force:
        raise AlreadyExistsError(
            f"{' and '.join(existing)} already exists: choose another name, or add --force to "
            "overwrite"
        )
    return files


def _check_folder(path: Path) -> None:
    """Checks, before a network is trained for it, that a file can be written.

    Raises:
        InvalidValueError: It cannot.
    """
    if path.is_dir():
        raise InvalidValueError(f"{str(path)!r} is a folder: name a file in it, or another one")
    parent = next(each for each in path.absolute().parents if each.exists())
    if not parent.is_dir():
        raise InvalidValueError(f"{str(parent)!r} is a file: name a file in a folder")
    if not os.access(parent, os.W_OK):
        raise InvalidValueError(f"{str(parent)!r} cannot be written to: name another folder")


def export_network(
    child: nn.Module,
    signature: Signature,
    description: Description,
    path: Path,
    *,
    kept: tuple[Path, ...] = (),
    force: bool = False,
    opset: int | None = None,
) -> Export:
    """Writes a network, and compares the file with it.

    Args:
        child: Maps normalised images to logits; in eval mode, on the CPU.
        signature: Its input and its classes.
        description: An ``architecture`` of a ``space``, or the name of a ``baseline``.
        path: The file.
        kept: Existing files that already have the right content.
        force: Whether to overwrite existing files.
        opset: Version of the operators of ONNX; None for the exporter's own.

    Raises:
        AlreadyExistsError: A file exists.
        ParityError: The file differs from the child; no file is left.
    """
    files = check_place(path, kept, force=force)
    with _place(tuple(file for file in files if file not in kept)) as folder:
        written = folder / path.name
        run = write_network(child, signature, description, written, opset)
        parity = check_parity(run, child, signature, path.name)
        version = version_of(written) if path.suffix == ".onnx" else None
    return Export(files, parity, version=version)


def write_network(
    child: nn.Module,
    signature: Signature,
    description: Description,
    path: Path,
    opset: int | None = None,
) -> Runner:
    """Writes a network in the format of the file's name, and gives what runs the file.

    The arguments are those of `export_network`; nothing is compared.
    """
    if path.suffix == ".onnx":
        write_onnx(child, signature, description, path, opset)
        return partial(map, OnnxNetwork(path))
    return _WRITERS[path.suffix](child, signature, description, path)


def _export_int8(
    child: Child,
    description: Description,
    path: Path,
    files: tuple[Path, ...],
    opset: int | None,
    epochs: int,
    max_loss: float | None,
    progress: Progress,
) -> Export:
    """Writes a child in float32, checks it, quantises it and compares the two."""
    signature, network = signature_of(child), child.model(torch.device("cpu"))
    data = child.data.to("cpu")
    splits = ("val", "test") if "test" in child.result else ("val",)
    float32 = quantised = path.with_name("float32.onnx")
    write_onnx(network, signature, description, float32, opset)
    parity = check_parity(partial(map, OnnxNetwork(float32)), network, signature, path.name)
    if epochs:
        make_folder(path.with_name("fine-tuning"))
        tuned = fine_tune_for_int8(child, epochs, path.with_name("fine-tuning"), progress)
        quantised = path.with_name("fine-tuned.onnx")
        write_onnx(tuned, signature, description, quantised, opset)
    quantise(quantised, data, path)
    quantisation = compare(float32, path, data, splits, epochs)
    quantisation.check(max_loss)
    return Export(files, parity, quantisation, version_of(path))


@contextmanager
def _place(files: tuple[Path, ...]) -> Iterator[Path]:
    """Gives a folder for files of these names, which then replace them all, unless one fails."""
    parent = files[0].absolute().parent
    make_folder(parent)
    with named_errors(files[0]), temporary_folder(parent, "export") as folder:
        yield folder
        for file in files[::-1]:  # The file that needs the others comes last.
            written = folder / file.name
            with written.open("rb+") as stream:
                os.fsync(stream.fileno())
            written.replace(file)
    sync_folder(parent)


def _write_executorch(
    child: nn.Module, signature: Signature, description: Description, path: Path
) -> Runner:
    write_executorch(child, signature, description, path)
    network, _ = read_executorch(path)
    return partial(map, network)


def _write_program(
    child: nn.Module, signature: Signature, description: Description, path: Path
) -> Runner:
    write_program(child, signature, description, path)
    network, _ = read_program(path)
    return partial(map, network)


def _write_safetensors(
    child: nn.Module, signature: Signature, description: Description, path: Path
) -> Runner:
    write_safetensors(child, signature, description, path)
    network, _ = read_safetensors(path)
    return partial(map, torch.no_grad()(network))


def _write_standalone(
    child: nn.Module, signature: Signature, description: Description, path: Path
) -> Runner:
    weights = path.with_suffix(".safetensors")
    title = f"Network {description.get('id', '')}, found and trained with smash-nas."
    source = find_source(child, description, signature.task)
    path.write_text(write_code(source, signature, title, weights.name), encoding="utf-8")
    write_weights(child.state_dict(), signature, weights)
    return partial(run_isolated, path, classes=signature.classes)


_WRITERS: dict[str, Callable[[nn.Module, Signature, Description, Path], Runner]] = {
    ".pt2": _write_program,
    ".pte": _write_executorch,
    ".py": _write_standalone,
    ".safetensors": _write_safetensors,
}
