"""What the commands share: arguments, loading with a word on what was found, tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smash.cli.exit import is_first_process
from smash.errors import InvalidValueError
from smash.io.files import parse_json
from smash.io.text import printable
from smash.run.layout import STUDY, check_searched, find_run

if TYPE_CHECKING:
    from smash.data import Data
    from smash.run.run import Run
    from smash.study.study import Study

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")]
TensorboardOption = Annotated[
    bool, typer.Option("--tensorboard", help="Write curves for TensorBoard, in RUN/tensorboard.")
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="auto|local|HOST:PORT",
        help="Work on a Ray cluster: this machine's, a new one of this machine alone, or another.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def say(words: str) -> None:
    """Tells the user something that is not a result: on standard error."""
    if is_first_process():
        print(printable(words), file=sys.stderr)


def announce(lines: list[str]) -> None:
    """Tells several things, a line each."""
    for line in lines:
        say(line)


def load(source: str, **options: Any) -> Data:
    """Loads data and tells what was found."""
    from smash.data import load_data

    data = load_data(source, **options)
    task = data.task
    say(
        f"{data.name}: {len(data.train):,} training, {len(data.val):,} validation and "
        f"{len(data.test):,} test examples of {'×'.join(map(str, task.size))}, {task.channels} "
        f"channel{'s' * (task.channels > 1)}, {task.classes} classes"
    )
    for note in data.notes:
        say(f"  {note}")
    return data


def open_run(path: Path) -> Run:
    """Finds a run. What is wrong with its folder is said before torch is imported."""
    find_run(path)
    from smash.run.run import Run

    return Run.open(path)


def open_study(path: Path) -> Study:
    """Finds the study of a run."""
    find_run(path)
    check_searched(path / STUDY)
    from smash.study.study import Study

    return Study(path / STUDY)


def key_values(pairs: list[str]) -> dict[str, Any]:
    """Reads KEY=VALUE; what a value must be, the space says."""
    faults = [
        f"option {pair!r} must be KEY=VALUE, such as depth=6" for pair in pairs if "=" not in pair
    ]
    if faults:
        raise InvalidValueError(*faults)
    return {key: _plain(value) for key, _, value in (pair.partition("=") for pair in pairs)}


def _plain(value: str) -> Any:
    try:
        return parse_json(value)
    except ValueError:
        return value
