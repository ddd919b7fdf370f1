"""``smash compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smash.cli.options import (
    JsonOption,
    RunArgument,
    announce,
    check_ranks,
    open_run,
    program,
    quoted,
    say,
    settings_options,
)
from smash.cli.tables import looks_in_words
from smash.comparing.settings import CompareSettings
from smash.run.layout import STUDY, check_searched, find_run

if TYPE_CHECKING:
    from smash.comparing.comparison import Comparison
    from smash.io.records import Interval


@settings_options
def compare(run: RunArgument, settings: CompareSettings, as_json: JsonOption = False) -> None:
    """Train the winner, other candidates and plain networks alike, and tell which is best."""
    find_run(run)
    check_searched(run / STUDY)
    check_ranks(run, settings.rank_numbers)
    from smash.cli.describe import announce_short
    from smash.comparing.compare import compare as compare_networks
    from smash.runtime.progress import on_terminal

    opened = open_run(run)
    announce_short(opened, settings)
    comparison = compare_networks(opened, settings, progress=on_terminal, announce=announce)
    if as_json:
        print(comparison.model_dump_json(indent=2))
    else:
        print_comparison(comparison)
    say(looks_in_words(run))
    if not as_json:
        say(f"Next: {program()} report {quoted(run)}")


def print_comparison(comparison: Comparison) -> None:
    """Prints a table of the networks, and the verdict."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    several = comparison.seeds > 1
    table = Table(
        title=f"{comparison.length}, {comparison.seeds} seed{'s' * several}; errors with "
        f"95% intervals over {'seeds and ' * several}examples\n"
        "RAM and flash: bytes in int8; ms: one input; minutes: one training",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    table.add_column("network", overflow="fold")
    for name in (
        *("parameters\nMACs", "RAM\nflash", "ms\nminutes"),
        *("val\nerror", "test error", "− winner"),
    ):
        table.add_column(name, justify="right", no_wrap=True)  # a cut number would be another one
    for index, each in enumerate(comparison.contestants):
        label = each.name if each.role == "plain" else f"{each.role}\n{each.name}"
        table.add_row(
            label,
            f"{each.params:,}\n{each.macs:,}",
            f"{each.memory:,}\n{each.flash:,}",
            f"{_milliseconds(each.latency)}\n{each.minutes:.1f}",
            f"{each.val.value:.2%}",
            f"{each.test.value:.2%}\n{_range(each.test)}",
            f"{100 * each.behind.value:+.2f}\n{_range(each.behind, sign=True)}" if index else "",
        )
    Console().print(table)
    print(comparison.verdict)


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.3g}"


def _range(interval: Interval, *, sign: bool = False) -> str:
    low, high = 100 * interval.low, 100 * interval.high
    return f"{low:+.1f}…{high:+.1f}" if sign else f"{low:.1f}…{high:.1f}"
