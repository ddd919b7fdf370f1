"""A network as a program of ExecuTorch, for one example at a time.

The memory of a program is planned when it is written, so more examples would take more of it on a
device. XNNPACK runs what it can, which is a hundred times as fast, and portable kernels the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smash.errors import DataError, InvalidValueError, MissingExtraError, reason_of
from smash.exporting.packages import import_package, missing_extra, without_warnings
from smash.exporting.program import trace_program
from smash.exporting.sessions import IsolatedSession
from smash.exporting.signature import SIGNATURE, Signature, metadata
from smash.io.text import as_size

_MOST_AXES = 2


def write_executorch(
    child: nn.Module, signature: Signature, description: Mapping[str, Any], path: Path
) -> None:
    """Writes a network as a ``.pte``; its signature and description are methods that return text.

    Args:
        child: Maps normalised images to logits; in eval mode, on the CPU.
        signature: Its input and its classes.
        description: Its description as JSON.
        path: The file.

    Raises:
        InvalidValueError: ExecuTorch cannot run it.
        MissingExtraError: ExecuTorch is not installed.
    """
    if len(signature.size) > _MOST_AXES:
        raise InvalidValueError(
            f"ExecuTorch has no kernels for volumes, got inputs of {as_size(signature.size)}: "
            "export to a name that ends in .pt2 or .onnx"
        )
    traced = trace_program(child, signature, path.suffix, examples=1)
    try:
        with without_warnings():
            exir = import_package("executorch.exir")
            xnnpack = import_package("executorch.backends.xnnpack.partition.xnnpack_partitioner")
            program = exir.to_edge_transform_and_lower(
                traced,
                partitioner=[xnnpack.XnnpackPartitioner()],
                constant_methods=metadata(signature, description),
            ).to_executorch()
    except MissingExtraError:
        raise
    except Exception as error:  # It has a type for each reason.
        raise InvalidValueError(
            f"{type(child).__name__} cannot be written as .pte ({reason_of(error)}): export it as "
            ".pt2 or .onnx"
        ) from None
    path.write_bytes(program.buffer)


def read_executorch(path: Path) -> tuple[Callable[[Tensor], Tensor], Signature]:
    """Reads what `write_executorch` wrote; its runtime works in a process of its own.

    Raises:
        DataError: `write_executorch` has not written the file, or it is damaged.
        MissingExtraError: ExecuTorch is not installed.
    """
    try:
        session = IsolatedSession(path.read_bytes(), 1, "executorch")
        signature = Signature.from_json(session.metadata[SIGNATURE])
    except ImportError as error:
        raise missing_extra(repr(error.name)) from None
    except Exception as error:  # A damaged file can raise anything.
        raise DataError(
            f"{path} cannot be run as .pte ({reason_of(error)}): export it again"
        ) from None

    def run(images: Tensor) -> Tensor:
        try:
            logits = torch.tensor(session.run(images.numpy()))
        except RuntimeError as error:
            raise DataError(
                f"{path} cannot be run on {as_size(images.shape)} ({reason_of(error)}): export it "
                "again"
            ) from None
        if logits.shape != (len(images), len(signature.classes)):
            raise DataError(f"{path} gives logits of {as_size(logits.shape)}: export it again")
        return logits

    return run, signature
