"""``smash retrain``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from smash.cli.options import (
    RunArgument,
    TensorboardOption,
    announce,
    check_ranks,
    open_run,
    program,
    quoted,
    say,
    settings_options,
)
from smash.cli.tables import print_child, print_export
from smash.errors import InvalidValueError, faults_of
from smash.exporting.formats import files_of
from smash.run.layout import STUDY, check_searched, find_run, is_searched
from smash.training.settings import OF_FINALS, RetrainSettings, parse_ranks

_FOR_ONE = {*OF_FINALS, "rank", "baseline", "name"}  # settings that ranks excludes


@settings_options
def retrain(
    run: RunArgument,
    settings: RetrainSettings,
    ranks: Annotated[
        str | None,
        typer.Option(help="Train several candidates, such as 0-4 or 0,2,5; finished ones stay."),
    ] = None,
    tensorboard: TensorboardOption = False,
    export: Annotated[
        Path | None,
        typer.Option(help="Then export it: a .onnx, .int8.onnx, .pte, .pt2, .safetensors or .py."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite existing files of the export.")
    ] = False,
) -> None:
    """Train a candidate, or a reference network, and evaluate it on the validation split."""
    find_run(run)
    if export is not None:
        files_of(export)
        from smash.exporting.export import check_place

        check_place(export, force=force)  # now, and not once it is trained
    if settings.baseline is None:
        check_searched(run / STUDY)
    for_one = settings.model_dump(include=_FOR_ONE & settings.given().keys())
    several = _ranks(
        ranks,
        {**for_one, "export": export, "tensorboard": tensorboard or None, "force": force or None},
    )
    if settings.baseline is None:
        check_ranks(run, several or [rank for rank in (settings.rank,) if rank is not None])
    from smash.run.child_folder import finished_children

    finished_children(run)  # a damaged one is told now, and not once this one is trained
    from smash.cli.describe import announce_short
    from smash.runtime.progress import on_terminal
    from smash.training.children import retrain_several
    from smash.training.retrain import retrain as retrain_run

    opened = open_run(run)
    if tensorboard:
        opened.show_in_tensorboard()
    announce_short(opened, settings)
    if several:
        for child in retrain_several(opened, several, settings, progress=on_terminal):
            print_child(child)
        say(f"Next: {program()} compare {quoted(run)}")
        return
    child = retrain_run(opened, settings, progress=on_terminal, announce=announce)
    print_child(child)
    if export is not None:
        from smash.exporting.export import export as export_child

        print_export(export_child(child, export, force=force))
    if not is_searched(run / STUDY):  # a reference network needs no search
        say(f"Next: {program()} search {quoted(run)}")
        return
    command = f"{program()} compare {quoted(run)}{_alike(settings)}"
    say(f"Next: {command}, which tells whether the search pays off")


def _alike(settings: RetrainSettings) -> str:
    """Writes the options with which `compare` chooses and trains the same winner.

    Without `init`: a comparison begins from scratch, as plain networks have to.
    """
    from smash.run.child_folder import settings_of_weights

    names = (*OF_FINALS, *settings_of_weights(settings.child))
    given = {name: value for name, value in settings.given().items() if name != "init"}
    words = [] if settings.rank is None else [f"--ranks {settings.rank}"]
    for name, value in ((name, given[name]) for name in names if name in given):
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words.append(f"--{flag} {value}")
    return "".join(f" {word}" for word in words)


def _ranks(ranks: str | None, others: Mapping[str, object]) -> list[int]:
    """Parses the ranks of several candidates, such as ``0-4`` or ``0,2,5``.

    Args:
        ranks: The value of ``--ranks``; for one child, None.
        others: Options for one child, by name; None where they were not given.

    Returns:
        The ranks; none if there is one child to train.
    """
    if ranks is None:
        return []
    faults = [
        f"{name} is for one child, got {value} with ranks {ranks!r}: leave one of them out"
        for name, value in others.items()
        if value is not None
    ]
    faults += faults_of(lambda: parse_ranks(ranks))
    if faults:
        raise InvalidValueError(*faults)
    return parse_ranks(ranks)
