"""``smash show``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from smash.cli.options import JsonOption, RunArgument, open_study
from smash.cli.tables import print_candidates, print_front, show_latencies
from smash.errors import InvalidValueError

_FIELDS = (
    "id",
    "error",
    "top5_error",
    "ensemble_error",
    "loss",
    "params",
    "macs",
    "strategy",
    "partial",
    "examples",
    "latency",
)


def show(
    run: RunArgument,
    top: Annotated[int, typer.Option(help="How many.")] = 10,
    front: Annotated[
        bool,
        typer.Option(
            "--front", help="Only the Pareto front: of the objectives, or the parameters."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the best candidates, and the Pareto front of a search by several objectives."""
    if top < 1:
        raise InvalidValueError(f"top must be at least 1, got {top}")
    study = open_study(run)
    if not as_json:
        if not front:
            print_candidates(study, top)
        if front or (study.settings or {}).get("objectives"):
            print_front(study)
        if not front:
            show_latencies(run, study)
        return
    from dataclasses import asdict

    from smash.profiling.latency import CHILD, GRAPH, read_latencies
    from smash.searching.objectives import front as front_of
    from smash.searching.objectives import of_study

    times = {
        "child_time": read_latencies(run, CHILD),
        "graph_time": read_latencies(run, GRAPH),
    }
    ids = {one.id for one in front_of(study.candidates(), of_study(study.settings))}
    shown = [
        (rank, one)
        for rank, one in enumerate(study.ranking())
        if (one.candidate.id in ids if front else rank < top)
    ]
    rows = [
        {
            "rank": rank,
            **{field: getattr(one.candidate, field) for field in _FIELDS},
            "score_rank": one.score_rank,
            "proxy_rank": one.proxy_rank,
            "pareto": one.candidate.id in ids,
            **{
                name: (time := kept.get(one.candidate.id)) and asdict(time)
                for name, kept in times.items()
            },
        }
        for rank, one in shown
    ]
    print(json.dumps(rows, indent=2))
