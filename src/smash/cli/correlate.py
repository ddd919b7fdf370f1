"""``smash correlate``."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING

from smash.cli.options import JsonOption, RunArgument, announce, open_run, say, settings_options
from smash.correlation.settings import CorrelateSettings
from smash.io.text import printable
from smash.run.layout import PICTURE, find_run

if TYPE_CHECKING:
    from smash.io.records import Interval
    from smash.run.trust import RankCorrelation, Trust

_WIDTH = 110  # columns where standard output is not a terminal


@settings_options
def correlate(run: RunArgument, settings: CorrelateSettings, as_json: JsonOption = False) -> None:
    """Compare the ranking with real accuracies: of a table, or of candidates that are trained."""
    find_run(run)
    from smash.correlation.correlate import correlate as correlate_run
    from smash.runtime.progress import on_terminal

    trust = correlate_run(open_run(run), settings, progress=on_terminal, announce=announce)
    if as_json:
        document = trust.model_dump(mode="json", exclude={"points"})
        print(json.dumps({**document, "picture": str(run / PICTURE)}, indent=2, allow_nan=False))
    else:
        _print(trust)
    say(f"Picture: {run / PICTURE}")


def _print(trust: Trust) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = (
        f"{trust.n:,} architectures, against {printable(trust.truth)}\n"
        f"SMASH score: {trust.score}; below each number its 95% interval"
    )
    # As Text, because Rich would read brackets in a file name as markup.
    table = Table(title=Text(title), box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("ranked by", min_width=max(map(len, trust.baselines)))
    for name in ("Kendall τ", "τ of score minus τ", "τ within best tenth"):
        table.add_column(name, justify="right", min_width=len("-1.00…-0.50"))
    for name in ("τ at equal size", "best 5% found", "nDCG"):
        table.add_column(name, justify="right", max_width=8)
    for among in trust.regret:
        table.add_column(f"regret\n{among}", justify="right")
    table.add_row("SMASH score", *_cells(trust), style="bold")
    for name, correlation in trust.baselines.items():
        table.add_row(name, *_cells(correlation))
    for name, correlation in trust.together.items():
        table.add_row(f"score and {name}", *_cells(correlation))
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(table)


def _cells(correlation: RankCorrelation) -> list[str]:
    difference = correlation.tau_difference
    numbers = (correlation.equal_size_tau, correlation.top_precision, correlation.ndcg)
    return [
        _in_words(correlation.kendall_tau),
        _in_words(difference) if difference else "",
        _in_words(correlation.top_tenth_tau),
        *("–" if math.isnan(number) else f"{number:.3f}" for number in numbers),
        *("" if lost is None else f"{lost:.4g}" for lost in correlation.regret.values()),
    ]


def _in_words(interval: Interval) -> str:
    if not interval.is_defined:
        return "–"
    return f"{interval.value:.3f}\n{interval.low:.2f}…{interval.high:.2f}"
