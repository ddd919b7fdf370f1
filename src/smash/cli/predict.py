"""``smash predict``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from smash.cli.options import JsonOption
from smash.errors import NotFoundError
from smash.io.text import printable


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A .onnx, .safetensors or .py of 'smash export' (a .py is run), or a child.",
        ),
    ],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES", help="Images, or arrays as .npy.")
    ],
    top: Annotated[int, typer.Option(help="How many classes to show for each file.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Say which class each file is of."""
    if not model.exists():
        raise NotFoundError(f"model {str(model)!r} is not there: make it with 'smash export'")
    from smash.exporting.predict import predict as predict_files

    found = predict_files(model, files, top)
    if as_json:
        rows = [
            {
                "file": one.file,
                "class": one.likely[0][0],
                "probability": one.likely[0][1],
                "likely": [{"class": name, "probability": p} for name, p in one.likely],
            }
            for one in found
        ]
        print(json.dumps(rows, indent=2))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE)
    table.add_column("file", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("probability", justify="right")
    for one in found:
        for place, (name, probability) in enumerate(one.likely):
            # Text, because names from files and data may look like Rich markup.
            file = Text("" if place else printable(one.file))
            table.add_row(file, Text(printable(name)), f"{probability:.1%}")
    Console(width=None if Console().is_terminal else 100).print(table)
