"""``smash correlate``."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smash.cli.options import DeviceOption, JsonOption, RayOption, RunArgument, open_run, say
from smash.run.layout import find_run

if TYPE_CHECKING:
    from smash.correlation.correlate import Trust
    from smash.correlation.statistics import Agreement, Interval

_WIDTH = 110  # columns, where it is not a terminal that reads


def correlate(
    run: RunArgument,
    table: Annotated[
        Path | None, typer.Option(help="A CSV file of real accuracies, by 'architecture'.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="The column of the accuracies.")] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="The column holds errors or losses.")
    ] = False,
    half: Annotated[
        str | None, typer.Option(help="first or second: a fixed half of the table.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Look at this many of the table's architectures.")
    ] = None,
    train: Annotated[
        int | None, typer.Option(help="Instead: train this many candidates from scratch.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="With --train: passes; 30.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="With --train: examples a step.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="With --train: at the start of the cosine.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="With --train: of weights, order and augmentation.")
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare with naswot, synflow, generated-synflow or az-nas; repeatable, or with "
            "commas."
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="Join the score with params, macs, naswot, synflow, generated-synflow or az-nas, "
            "or none; by default with what the search had, or of a table of cells with "
            "generated-synflow."
        ),
    ] = None,
    rank_by: Annotated[str | None, typer.Option(help="loss, error or top5_error.")] = None,
    examples: Annotated[
        int | None, typer.Option(help="Validation examples to score a table on; 2000.")
    ] = None,
    device: DeviceOption = "auto",
    ray: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the ranking with real accuracies, of a table or of a sample that is trained."""
    find_run(run)
    from smash.correlation.correlate import correlate as correlate_run
    from smash.runtime.progress import on_terminal

    recipe: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    trust = correlate_run(
        open_run(run),
        table=table,
        column=column,
        lower_is_better=lower_is_better,
        half=half,  # type: ignore[arg-type] # checked there
        limit=limit,
        train=train,
        proxies=[name for given in proxy or [] for name in given.split(",")],
        prior=prior,
        rank_by=rank_by,  # type: ignore[arg-type] # checked there
        examples=examples,
        device=device,
        ray=ray,
        progress=on_terminal,
        **{name: value for name, value in recipe.items() if value is not None},
    )
    if as_json:
        print(json.dumps(trust.as_json(), indent=2, allow_nan=False))
    else:
        _print(trust)
    say(f"Picture: {trust.picture}")


def _print(trust: Trust) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = (
        f"{trust.n:,} architectures, against {trust.truth}\n"
        f"SMASH score: {trust.scored_on}; below each number its 95% interval"
    )
    # As Text: what stands in brackets, such as a part of a path, is no markup.
    shown = Table(title=Text(title), box=box.SIMPLE, padding=(0, 1, 0, 0))
    shown.add_column("ranked by", min_width=max(map(len, trust.baselines)))
    for name in ("Kendall τ", "Spearman ρ", "τ within best tenth", "τ of score minus τ"):
        shown.add_column(name, justify="right", min_width=len("-1.00…-0.50"))
    for among in trust.score.regret:
        shown.add_column(f"regret\n{among}", justify="right")
    shown.add_row("SMASH score", *_cells(trust.score), style="bold")
    for name, found in trust.baselines.items():
        shown.add_row(name, *_cells(found))
    for name, found in trust.together.items():
        shown.add_row(f"score and {name}", *_cells(found))
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(shown)


def _cells(found: Agreement) -> list[str]:
    return [
        *map(_words, (found.kendall_tau, found.spearman, found.top_tenth_tau)),
        _words(found.tau_difference) if found.tau_difference else "",
        *("" if lost is None else f"{lost:.4g}" for lost in found.regret.values()),
    ]


def _words(found: Interval) -> str:
    if not math.isfinite(found.value):
        return "–"
    return f"{found.value:.3f}\n{found.low:.2f}…{found.high:.2f}"
