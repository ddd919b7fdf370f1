"""The command ``smash predict``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from smash.cli.options import JsonOption
from smash.errors import DataError, shortened
from smash.exporting.formats import check_model, missing_files
from smash.io.text import printable


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A .onnx, .safetensors, .pte, .pt2 or .py of 'smash export' (the last three can "
            "run code), or CHILD.",
        ),
    ],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILES", help="Images, sounds, arrays (.npy, .npz), or folders."),
    ],
    top: Annotated[int, typer.Option(help="Number of classes to show for each file.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Predict the class of each file."""
    check_model(model)
    if faults := missing_files(files):
        raise DataError(*shortened(faults))
    from smash.exporting.predict import predict as predict_files

    predictions = predict_files(model, files, top)
    if as_json:
        rows = [
            {
                "file": prediction.file,
                "class": prediction.likely[0][0],
                "probability": prediction.likely[0][1],
                "likely": [{"class": name, "probability": p} for name, p in prediction.likely],
            }
            for prediction in predictions
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
    for prediction in predictions:
        for place, (name, probability) in enumerate(prediction.likely):
            # Text, because names from files and data may look like Rich markup.
            file = Text("" if place else printable(prediction.file))
            table.add_row(file, Text(printable(name)), f"{probability:.1%}")
    Console(width=None if Console().is_terminal else 100).print(table)
