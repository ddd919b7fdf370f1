"""``smash show``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smash.cli.options import JsonOption, RunArgument, open_run, open_study, say
from smash.cli.tables import (
    print_candidates,
    print_children,
    print_pareto_front,
    print_stored_latencies,
    trust_of,
)
from smash.errors import InvalidValueError
from smash.run.layout import CHILDREN

if TYPE_CHECKING:
    from smash.study.study import Study

_TOP = 10  # candidates that are shown by default
_FIELDS = (
    "id",
    "error",
    "top5_error",
    "ensemble_error",
    "loss",
    "params",
    "macs",
    "memory",
    "flash",
    "strategy",
    "partial",
    "examples",
    "latency",
)


def show(
    run: RunArgument,
    top: Annotated[
        int | None, typer.Option(help="Number of candidates to show.", show_default="10")
    ] = None,
    front: Annotated[
        bool,
        typer.Option(
            "--front",
            help="Show only the Pareto front of the objectives, or of score and parameters.",
        ),
    ] = False,
    operators: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Instead, list the operators of N sampled architectures as a CSV for "
            "search --latency-table, to fill in the seconds.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the best candidates, the Pareto front of several objectives, and trained children."""
    if top is not None and top < 1:
        raise InvalidValueError(f"top must be at least 1, got {top}")
    if top is not None and front:
        raise InvalidValueError(f"the front is shown whole, got top {top} as well: leave it out")
    if operators is not None:
        for name, given in (("json", as_json), ("front", front), ("top", top)):
            if given:
                raise InvalidValueError(
                    f"operators are printed alone, as CSV, got {name} as well: leave it out"
                )
        _print_operators(run, operators)
        return
    study = open_study(run)
    if as_json:
        print(json.dumps(_rows(run, study, None if front else top or _TOP), indent=2))
        return
    if not front:
        print_candidates(study, top or _TOP)
    if front or (study.settings or {}).get("objectives"):
        print_pareto_front(study)
    if not front:
        print_stored_latencies(run, study)
        if (run / CHILDREN).is_dir():
            print_children(run)
        say(trust_of(run, study))


def _rows(run: Path, study: Study, top: int | None) -> list[dict[str, Any]]:
    """Gathers what is known of the best candidates, or with None of those on the front."""
    from dataclasses import asdict

    from smash.profiling.stored_times import CHILD, GRAPH, read_latencies
    from smash.searching.objectives import pareto_front, study_objectives

    times = {
        "child_time": read_latencies(run, CHILD),
        "graph_time": read_latencies(run, GRAPH),
    }
    objectives = study_objectives(study.settings)
    pareto = {each.id for each in pareto_front(study.candidates(), objectives)}
    return [
        {
            "rank": rank,
            **{field: getattr(each.candidate, field) for field in _FIELDS},
            "score_rank": each.score_rank,
            "proxy_rank": each.proxy_rank,
            "pareto": each.candidate.id in pareto,
            **{
                name: (time := stored.get(each.candidate.id)) and asdict(time)
                for name, stored in times.items()
            },
        }
        for rank, each in enumerate(study.ranking())
        if (each.candidate.id in pareto if top is None else rank < top)
    ]


def _print_operators(run: Path, samples: int) -> None:
    if samples < 1:
        raise InvalidValueError(f"operators must be at least 1, got {samples}")
    from smash.profiling.operator_table import format_table
    from smash.profiling.table_timer import sample_operators

    opened = open_run(run)
    print(format_table(sample_operators(opened.space, opened.data.task, samples)), end="")
