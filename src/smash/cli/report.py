"""``smash report``."""

from __future__ import annotations

from smash.cli.options import RunArgument, say
from smash.run.layout import find_run


def report(run: RunArgument) -> None:
    """Write a page that shows the run: RUN/report.html, which opens in any browser, offline."""
    find_run(run)
    from smash.reporting import report as write_report

    path = write_report(run)
    print(path)
    say(f"{path.stat().st_size / 1e6:.1f} MB; it needs no other file and no network")
