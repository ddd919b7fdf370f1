"""``smash bench``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from smash.cli.options import JsonOption


def bench(
    figures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIGURE",
            help="step, score, sample, data, augment, study or start; all, if none is named.",
        ),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(help="demo, cifar-small or cifar-default; may be repeated; by default all."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")] = "cpu",
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure little: to see that it works.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what the work costs, as ratios, on synthetic data."""
    from smash import benching
    from smash.runtime.progress import on_terminal

    effort = benching.QUICK if quick else benching.Effort()
    rows = benching.bench(figures or (), size or (), device, effort, on_terminal)
    if as_json:
        print(json.dumps(benching.as_json(rows), indent=2))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Ratios, both sides measured in turn", box=box.SIMPLE)
    for name in ("figure", "size", "device"):
        table.add_column(name)
    for name in ("ratio", "median"):
        table.add_column(name, justify="right")
    table.add_column("of")
    for row in rows:
        numbers = (f"{row.ratio:.3g}", f"{row.median:,.3f}")
        table.add_row(row.name, row.size, row.device, *numbers, row.unit)
    Console().print(table)
