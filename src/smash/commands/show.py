"""``smash show``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from smash.commands.common import JsonOption, RunArgument, open_study, print_candidates
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
)


def show(
    run: RunArgument,
    top: Annotated[int, typer.Option(help="How many.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Show the best candidates."""
    if top < 1:
        raise InvalidValueError(f"top must be at least 1, got {top}")
    study = open_study(run)
    if not as_json:
        print_candidates(study, top)
        return
    rows = [
        {
            "rank": rank,
            **{field: getattr(one.candidate, field) for field in _FIELDS},
            "score_rank": one.score_rank,
            "proxy_rank": one.proxy_rank,
        }
        for rank, one in enumerate(study.ranking()[:top])
    ]
    print(json.dumps(rows, indent=2))
