"""A network as a program of `torch.export`, which torch runs without its source."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from smash.errors import DataError, InvalidValueError, reason_of
from smash.exporting.parity import example_images
from smash.exporting.signature import SIGNATURE, ShippedNetwork, Signature, metadata

_SOURCES = ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node", "torch_fn")


def write_program(
    child: nn.Module, signature: Signature, description: Mapping[str, Any], path: Path
) -> None:
    """Writes a network as a ``.pt2``, for any number of examples at once.

    Args:
        child: Maps normalised images to logits; in eval mode, on the CPU.
        signature: Its input and its classes.
        description: Its description as JSON.
        path: The file.

    Raises:
        InvalidValueError: Torch cannot write it as a program.
    """
    program = trace_program(child, signature, path.suffix)
    torch.export.save(program, path, extra_files=metadata(signature, description))


def trace_program(
    child: nn.Module, signature: Signature, ending: str, examples: int | None = None
) -> torch.export.ExportedProgram:
    """Traces a network, with its normalisation and without names of this machine.

    Args:
        child: Maps normalised images to logits; in eval mode, on the CPU.
        signature: Its input and its classes.
        ending: Ending of the file that it is for.
        examples: Number of examples that it takes at once; None for any number.

    Raises:
        InvalidValueError: Torch cannot trace it.
    """
    try:
        program = torch.export.export(
            ShippedNetwork(child, signature).eval(),
            (example_images(signature, examples or 2),),  # One of any would become a constant.
            dynamic_shapes=None if examples else ({0: torch.export.Dim("examples")},),
        )
    except Exception as error:  # The network may be a user's own and raise anything.
        reason = reason_of(error.__cause__ or error)
        raise InvalidValueError(
            f"{type(child).__name__} cannot be written as {ending} ({reason}): export it as "
            ".safetensors or .py"
        ) from None
    for module in program.graph_module.modules():
        if isinstance(module, fx.GraphModule):
            for node in module.graph.nodes:
                for name in _SOURCES:  # They hold paths and lines of this machine.
                    node.meta.pop(name, None)
    return program


def read_program(path: Path) -> tuple[Callable[[Tensor], Tensor], Signature]:
    """Reads what `write_program` wrote. Torch may unpickle parts of it, which can run code.

    Raises:
        DataError: `write_program` has not written the file, or it is damaged.
    """
    extra = {SIGNATURE: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = torch.export.load(path, extra_files=extra).module()
        signature = Signature.from_json(extra[SIGNATURE])
    except Exception as error:  # A damaged file can raise anything.
        raise DataError(
            f"{path} cannot be run as .pt2 ({reason_of(error)}): export it again"
        ) from None
    return torch.no_grad()(network), signature
