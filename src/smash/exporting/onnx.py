"""A network as ONNX, for any number of examples at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smash.errors import DataError, InvalidValueError, reason_of
from smash.exporting.packages import import_package, missing_extra
from smash.exporting.parity import example_images
from smash.exporting.sessions import End, IsolatedSession, OnnxSession, messages_in
from smash.exporting.signature import SIGNATURE, ShippedNetwork, Signature, metadata
from smash.io.text import as_size

IMAGES, LOGITS = "images", "logits"
"""Names of the input and the output of the graph."""

OPSETS = range(18, 26)
"""Versions of the operators that can be written."""


@dataclass(frozen=True)
class OnnxVersion:
    """The versions that a reader of a file must know.

    Attributes:
        opset: Version of the operators.
        ir: Version of the format.
    """

    opset: int
    ir: int


def write_onnx(
    child: nn.Module,
    signature: Signature,
    description: Mapping[str, Any],
    path: Path,
    opset: int | None = None,
) -> None:
    """Writes a network as ONNX, with its signature and description as the only metadata.

    The file is at most 8 KiB + 256 bytes a node larger than the weights.

    Args:
        child: Maps normalised images to logits; in eval mode, on the CPU.
        signature: Its input and its classes.
        description: Its description as JSON, which is written to the metadata as well.
        path: The file.
        opset: Version of the operators; None for the exporter's own.

    Raises:
        InvalidValueError: Torch cannot write it as ONNX.
        MissingExtraError: The packages for ONNX are not installed.
    """
    onnx = import_package("onnx")
    import_package("onnxscript")
    network = ShippedNetwork(child, signature).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Torch's exporter warns of its own code.
        try:
            program: Any = torch.onnx.export(
                network,
                (example_images(signature, 2),),  # A single example would become a constant.
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("examples")},),
                input_names=[IMAGES],
                output_names=[LOGITS],
                verbose=False,
                opset_version=opset,
            )
        except Exception as error:  # The network may be a user's own and raise anything.
            reason = reason_of(error.__cause__ or error)
            raise InvalidValueError(
                f"{type(child).__name__} cannot be written as ONNX ({reason}): export it as "
                ".safetensors or .py"
            ) from None
        model = program.model_proto
    strip_metadata(model)
    model.graph.name = "smash"
    onnx.helper.set_model_props(model, metadata(signature, description))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def check_opset(opset: int) -> None:
    """Checks that a version of the operators can be written.

    Raises:
        InvalidValueError: It cannot.
    """
    if opset not in OPSETS:
        raise InvalidValueError(
            f"opset must be {OPSETS[0]} to {OPSETS[-1]}, got {opset}: leave it out for the "
            "exporter's own"
        )


def version_of(path: Path) -> OnnxVersion:
    """Reads the versions of a file that `write_onnx` wrote."""
    model = import_package("onnx").load(path)
    (opset,) = (each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    return OnnxVersion(opset, model.ir_version)


def strip_metadata(message: Any) -> None:
    """Removes comments and metadata: the exporter writes its stack traces and paths into them."""
    for described, _ in message.ListFields():
        if described.name in ("doc_string", "metadata_props"):
            message.ClearField(described.name)
    for each in messages_in(message):
        strip_metadata(each)


class OnnxNetwork:
    """A network that ONNX Runtime runs on the CPU.

    Args:
        path: The file.
        threads: Threads that it may use; by default as many as torch uses.
        isolated: Whether it runs in a process of its own with a time limit, as a file of unknown
            origin should.

    Attributes:
        signature: Its input and its classes.

    Example:
        >>> from smash import export, retrain
        >>> made = export(retrain("runs/digits", rank=0, epochs=1), "digits.onnx")
        >>> network = OnnxNetwork(made.files[0])
        >>> network(torch.rand(5, network.signature.channels, *network.signature.size)).shape
        torch.Size([5, 10])

    Raises:
        DataError: `write_onnx` has not written the file, or it is damaged.
        MissingExtraError: The packages for ONNX are not installed.
    """

    def __init__(self, path: Path, threads: int | None = None, *, isolated: bool = False) -> None:
        content, start = path.read_bytes(), IsolatedSession if isolated else OnnxSession
        try:
            self._session = start(content, threads or torch.get_num_threads())
        except ImportError as error:
            raise missing_extra(repr(error.name)) from None
        except Exception as error:  # ONNX Runtime has a type for each reason.
            raise DataError(
                f"{path} cannot be run as ONNX ({reason_of(error)}): export it again"
            ) from None
        if SIGNATURE not in self._session.metadata:
            raise DataError(f"{path} does not name its classes: export it by 'smash export'")
        try:
            self.signature = Signature.from_json(self._session.metadata[SIGNATURE])
        except DataError as error:
            raise DataError(*(f"{path}: {fault}" for fault in error.faults)) from None
        self._path = path
        self._check_ends()

    def __call__(self, images: Tensor) -> Tensor:
        """Maps N×channels×spatial, as the signature says, to logits, N×classes.

        Raises:
            DataError: The graph fails, takes too long, or gives something else.
        """
        try:
            logits = self._session.run(images.numpy())
        except Exception as error:  # ONNX Runtime has a type for each reason.
            raise DataError(
                f"{self._path} cannot be run on {as_size(images.shape)} ({reason_of(error)}): "
                "export it again"
            ) from None
        expected = (len(images), len(self.signature.classes))
        if logits.shape != expected:
            raise DataError(
                f"{self._path} must give logits of shape {as_size(expected)}, got "
                f"{as_size(logits.shape)}: export it again"
            )
        return torch.tensor(logits)

    def _check_ends(self) -> None:
        """Checks that the graph has the input and the output that the signature describes."""
        signature, session = self.signature, self._session
        ends = (
            ("take", IMAGES, session.inputs, (signature.channels, *signature.size)),
            ("give", LOGITS, session.outputs, (len(signature.classes),)),
        )
        faults = [
            f"{self._path} must {verb} {name!r}, float32 of Nx{as_size(shape)} as its signature "
            f"says, and its graph has {'; '.join(map(_in_words, found)) or 'nothing'}: export it "
            "again"
            for verb, name, found, shape in ends
            if len(found) != 1 or not _fits(found[0], name, shape)
        ]
        if faults:
            raise DataError(*faults)


def _fits(end: End, name: str, expected: Sequence[int]) -> bool:
    """Tells whether an end of a graph has this name and shape, for any number of examples."""
    found, kind, shape = end
    return (
        (found, kind, len(shape)) == (name, "tensor(float)", 1 + len(expected))
        and not isinstance(shape[0], int)
        and not any(
            isinstance(extent, int) and extent != expected_extent
            for extent, expected_extent in zip(shape[1:], expected, strict=True)
        )
    )


def _in_words(end: End) -> str:
    name, kind, shape = end
    extents = (str(extent) if isinstance(extent, int) else "N" for extent in shape)
    return f"{name!r:.60}, {kind} of {'x'.join(extents) or 'no axes'}"
