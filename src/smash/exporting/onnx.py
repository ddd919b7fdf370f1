"""A network as ONNX, for ONNX Runtime and whatever else reads it; any number of examples."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from smash.errors import DataError, InvalidValueError, MissingExtraError
from smash.exporting.parity import example_images
from smash.exporting.signature import ShippedNetwork, Signature
from smash.io.text import as_size

IMAGES, LOGITS = "images", "logits"
"""Names of what goes in and what comes out."""

_SIGNATURE, _ABOUT = "smash.signature", "smash.about"

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_End = tuple[str, str, tuple[int | str | None, ...]]
"""What goes into a graph or comes out: name, type, and extents where they are fixed."""


def write_onnx(
    child: nn.Module, signature: Signature, about: Mapping[str, Any], path: Path
) -> None:
    """Writes a network as ONNX, with its signature in the metadata.

    Args:
        child: Maps normalised images to logits; in eval mode, on the CPU.
        signature: What it takes and gives.
        about: What else is to be known of it, as JSON.
        path: The file.

    Raises:
        InvalidValueError: Torch cannot write it as ONNX.
        MissingExtraError: The packages for it are not installed.
    """
    onnx = _package("onnx")
    _package("onnxscript")
    network = ShippedNetwork(child, signature).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch itself does in the making
        try:
            program: Any = torch.onnx.export(
                network,
                (example_images(signature, 2),),  # one example would be taken for a constant
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("examples")},),
                input_names=[IMAGES],
                output_names=[LOGITS],
                verbose=False,
            )
        except Exception as error:  # whatever a network of a user's own leads it to
            reason = " ".join(str(error.__cause__ or error).split())[:200]
            raise InvalidValueError(
                f"{type(child).__name__} cannot be written as ONNX ({reason}): export it as "
                ".safetensors or .py"
            ) from None
        model = program.model_proto
    model.graph.name = "smash"
    onnx.helper.set_model_props(
        model, {_SIGNATURE: signature.to_json(), _ABOUT: json.dumps(dict(about))}
    )
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


class OnnxNetwork:
    """A network that ONNX Runtime runs on the CPU.

    Args:
        path: The file.
        threads: How many it may use; as many as torch uses if None.

    Raises:
        DataError: The file is not one that `write_onnx` wrote, or is damaged.
        MissingExtraError: ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        runtime = _package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is told below, in a line
        try:
            self._session = runtime.InferenceSession(
                path.read_bytes(),
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # to the same provider once more, with lines of its own
            )
            found = self._session.get_modelmeta().custom_metadata_map
            given, gives = (
                [(end.name, end.type, tuple(end.shape)) for end in ends]
                for ends in (self._session.get_inputs(), self._session.get_outputs())
            )
        except Exception as error:  # of types of its own for each thing that can be wrong
            if isinstance(error, OSError):
                raise
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{path} cannot be run as ONNX ({reason}): export it again") from None
        if _SIGNATURE not in found:
            raise DataError(
                f"{path} does not say what its classes are: it was not written by 'smash export'"
            )
        try:
            self.signature = Signature.from_json(found[_SIGNATURE])
        except DataError as error:
            raise DataError(*(f"{path}: {fault}" for fault in error.faults)) from None
        self._path = path
        self._check_ends(given, gives)

    def __call__(self, images: Tensor) -> Tensor:
        """Maps N×channels×spatial, as the signature says, to logits, N×classes.

        Raises:
            DataError: The graph cannot be run, or gives something else.
        """
        try:
            (logits,) = self._session.run([LOGITS], {IMAGES: images.numpy()})
        except Exception as error:  # of types of its own; a graph fits only as far as it says
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"{self._path} cannot be run on {as_size(images.shape)} ({reason}): export it again"
            ) from None
        wanted = (len(images), len(self.signature.classes))
        if logits.shape != wanted:
            raise DataError(
                f"{self._path} must give logits of shape {as_size(wanted)}, got "
                f"{as_size(logits.shape)}: export it again"
            )
        return torch.from_numpy(logits)

    def _check_ends(self, given: Sequence[_End], gives: Sequence[_End]) -> None:
        """Whether the graph takes and gives what the signature says, as far as it tells."""
        signature = self.signature
        ends = (
            ("take", IMAGES, given, (signature.channels, *signature.size)),
            ("give", LOGITS, gives, (len(signature.classes),)),
        )
        faults = [
            f"{self._path} must {does} {name!r}, float32 of Nx{as_size(wanted)} as its signature "
            f"says, and its graph has {'; '.join(map(_in_words, found)) or 'nothing'}: export it "
            "again"
            for does, name, found, wanted in ends
            if len(found) != 1 or not _fits(found[0], name, wanted)
        ]
        if faults:
            raise DataError(*faults)


def _fits(end: _End, name: str, wanted: tuple[int, ...]) -> bool:
    """Whether an end of a graph is this one, for any number of examples."""
    found, kind, shape = end
    return (
        (found, kind, len(shape)) == (name, "tensor(float)", 1 + len(wanted))
        and not isinstance(shape[0], int)
        and not any(
            isinstance(extent, int) and extent != want
            for extent, want in zip(shape[1:], wanted, strict=True)
        )
    )


def _in_words(end: _End) -> str:
    name, kind, shape = end
    extents = (str(extent) if isinstance(extent, int) else "N" for extent in shape)
    return f"{name!r:.60}, {kind} of {'x'.join(extents) or 'no axes'}"


def check_packages() -> None:
    """Looks whether what writes and runs ONNX is installed; imports nothing, which takes seconds.

    Raises:
        MissingExtraError: A package is not.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise _missing(", ".join(map(repr, missing)))


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise _missing(repr(name)) from None


def _missing(packages: str) -> MissingExtraError:
    return MissingExtraError(
        f"ONNX needs what is not installed, {packages}: install it with "
        "pip install 'smash-nas[onnx]'"
    )
