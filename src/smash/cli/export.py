"""The command ``smash export``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from smash.cli.options import JsonOption
from smash.cli.tables import print_export
from smash.errors import InvalidValueError
from smash.exporting.formats import files_of
from smash.run.layout import check_child


def export(
    child: Annotated[Path, typer.Argument(metavar="CHILD", help="RUN/children/NAME.")],
    to: Annotated[
        Path | None,
        typer.Option(
            help="A file that ends in .onnx, .int8.onnx, .pte, .pt2, .safetensors or .py; by "
            "default CHILD/model.onnx."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    opset: Annotated[
        int | None, typer.Option(help="Version of the operators of ONNX; by default torch's own.")
    ] = None,
    quantise_epochs: Annotated[
        int, typer.Option(help="Fine-tune for int8 for some epochs, with its rounding.")
    ] = 0,
    max_loss: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Write no int8 that raises the validation error by more, such as 1%.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export a trained child as a file that runs without its run folder, and compare the two."""
    check_child(child)
    if to is not None:
        files_of(to)
    limit = None if max_loss is None else _share(max_loss)
    if quantise_epochs < 0:
        raise InvalidValueError(f"quantise-epochs must be at least 0, got {quantise_epochs}")
    from smash.exporting.export import export as export_child
    from smash.runtime.progress import on_terminal

    exported = export_child(
        child,
        to,
        force=force,
        opset=opset,
        quantise_epochs=quantise_epochs,
        max_loss=limit,
        progress=on_terminal,
    )
    if as_json:
        parts = (exported.parity, exported.version, exported.quantisation)
        described = {name: value for part in parts if part for name, value in asdict(part).items()}
        print(json.dumps({"files": list(map(str, exported.files)), **described}))
        return
    print_export(exported)


def _share(text: str) -> float:
    """Reads a share, such as ``1%`` or ``0.01``.

    Raises:
        InvalidValueError: It is no number in 0…1, or 1 itself, which limits nothing.
    """
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if number != text.strip() else 1)
    except ValueError:
        share = -1
    if not 0 <= share < 1:
        raise InvalidValueError(f"max-loss must be a share such as 1% or 0.01, got {text!r:.60}")
    return share
