"""``smash search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from smash.cli.options import (
    RunArgument,
    announce,
    open_run,
    program,
    quoted,
    say,
    settings_options,
)
from smash.cli.tables import print_candidates, print_latencies, print_pareto_front, trust_of
from smash.profiling.operator_table import read_table
from smash.run.layout import check_trained, find_run
from smash.searching.settings import SearchSettings

if TYPE_CHECKING:
    from smash.run.run import Run
    from smash.study.study import Study


@settings_options
def search(run: RunArgument, settings: SearchSettings) -> None:
    """Rank architectures of a trained run."""
    find_run(run)
    check_trained(run)
    if settings.latency_table is not None:
        read_table(Path(settings.latency_table))
    from smash.cli.describe import announce_sizes
    from smash.runtime.progress import on_terminal
    from smash.searching.search import search as search_run

    opened = open_run(run)
    study = search_run(
        opened,
        settings,
        progress=on_terminal,
        on_begin=lambda run: announce_sizes(run, settings),
    )
    print_candidates(study, 5)
    if settings.objectives:
        print_pareto_front(study)
    if settings.times_children:
        print_latencies(opened, study)
    if (stops := study.timetable.stops) and settings.minutes is not None:
        counts = ", ".join(f"{name} {max(ends):,}" for name, ends in stops.items())
        say(f"proposals in {settings.minutes:g} minutes: {counts}; more minutes extend the search")
    announce(_shortfall(opened, study, settings))
    if study.shared:
        say(f"the study is in {study.where}; others may search it, in copies of this folder")
    announce([trust_of(opened.path, study), f"Next: {program()} retrain {quoted(run)}"])


def _shortfall(run: Run, study: Study, settings: SearchSettings) -> list[str]:
    """Says that the space had fewer networks within the limits than the search asked for."""
    if study.shared or settings.minutes is not None or settings.prefilter is not None:
        return []
    full = settings.resolved(run.settings.space.name)
    asked = sum(n or 0 for n in (full.random, full.perturb, full.markov, full.evolve))
    found = len(study.candidates())
    if found >= asked:
        return []
    return [f"no more networks are within the limits: {found:,} candidates of {asked:,} asked for"]
