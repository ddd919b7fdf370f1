"""The command ``smash export``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from smash.cli.options import JsonOption
from smash.cli.tables import print_export
from smash.run.layout import check_child


def export(
    child: Annotated[Path, typer.Argument(metavar="CHILD", help="RUN/children/NAME.")],
    to: Annotated[
        Path | None,
        typer.Option(help=".onnx, .safetensors or .py; by default CHILD/model.onnx."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Export a trained child as a file that runs without its run folder, and compare the two."""
    check_child(child)
    from smash.exporting import export as export_child

    exported = export_child(child, to, force=force)
    if as_json:
        print(json.dumps({"files": list(map(str, exported.files)), **asdict(exported.parity)}))
        return
    print_export(exported)
