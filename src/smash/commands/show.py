"""``smash show``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from smash.commands.common import JsonOption, RunArgument, open_study, print_candidates
from smash.errors import InvalidValueError


def show(
    run: RunArgument,
    top: Annotated[int, typer.Option(help="How many.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Show the best candidates."""
    if top < 1:
        raise InvalidValueError(f"top must be at least 1, got {top}")
    ranked = open_study(run).ranked()
    if as_json:
        fields = (
            "id",
            "error",
            "top5_error",
            "ensemble_error",
            "loss",
            "params",
            "macs",
            "strategy",
            "partial",
        )
        print(
            json.dumps(
                [
                    {"rank": rank, **{field: getattr(one, field) for field in fields}}
                    for rank, one in enumerate(ranked[:top])
                ],
                indent=2,
            )
        )
        return
    print_candidates(ranked[:top], len(ranked))
