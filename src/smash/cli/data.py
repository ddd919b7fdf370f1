"""``smash data``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from smash.cli.options import JsonOption, say, settings_options
from smash.config import LoadSettings
from smash.data.names import check_source
from smash.errors import InvalidValueError, unknown
from smash.io.text import printable

_PREPARED = ("modelnet",)

app = typer.Typer(help="Check data, or prepare a published data set.", no_args_is_help=True)


@app.command()
@settings_options
def check(
    path: Annotated[str, typer.Argument(metavar="DATA", help="Any DATA of 'smash train'.")],
    settings: LoadSettings,
    as_json: JsonOption = False,
) -> None:
    """Report the content of a data set and everything that is wrong with it."""
    check_source(path)
    from smash.data import check_data

    report = check_data(path, settings)
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print("\n".join(map(printable, report.lines())))
    if not report.ok:
        sys.exit(InvalidValueError.exit_code)


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(metavar="NAME", help="modelnet.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The published files.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    processes: Annotated[
        int | None, typer.Option(help="Number of processes; by default one per core.")
    ] = None,
) -> None:
    """Convert the files of a published data set to those that are read."""
    from smash.data.sources.voxelize import prepare_modelnet
    from smash.runtime.progress import on_terminal

    if name not in _PREPARED:
        raise InvalidValueError(unknown("data set to prepare", name, _PREPARED))
    for path in prepare_modelnet(folder, out, processes=processes, progress=on_terminal):
        say(f"{path}")
