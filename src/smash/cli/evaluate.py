"""The command ``smash evaluate``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from smash.cli.options import DeviceOption, JsonOption, say
from smash.cli.tables import looks_in_words, with_interval
from smash.evaluation import Evaluation
from smash.exporting.formats import check_model
from smash.io.text import printable
from smash.run.layout import check_child, check_split


def evaluate(
    child: Annotated[Path, typer.Argument(metavar="CHILD", help="RUN/children/NAME.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Evaluate this file of 'smash export' instead, on the CPU (a .py, .pt2 or .pte "
            "can run code).",
        ),
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Evaluate a trained child on one split of its data."""
    check_child(child)
    check_split(split)
    if model is not None:
        check_model(model)
    from smash.run.child import Child
    from smash.runtime.device import choose_device

    trained = Child.open(child)
    if model is None:
        result = trained.evaluate(split, choose_device(device))
    else:
        from smash.exporting.evaluation import check_fits, evaluate_exported
        from smash.exporting.predict import load_model

        loaded = load_model(model)
        check_fits(loaded.signature, trained.data)
        result = evaluate_exported(loaded.run, trained.data, split)
        if split == "test" and split not in trained.result:  # a look at the child, too
            trained.evaluate(split, choose_device(device))
    if as_json:
        print(json.dumps({**result.model_dump(), "error_interval": result.interval}))
    else:
        _print_result(result, trained.run.data.classes)
    if split == "test":
        say(looks_in_words(trained.run.path))


def _print_result(result: Evaluation, classes: Sequence[str]) -> None:
    print(
        f"{result.split}: error {with_interval(result)}, top-5 error {result.top5_error:.2%}, "
        f"macro-F1 {result.macro_f1:.4f}, loss {result.loss:.4f} on {result.examples:,} examples"
    )
    worst = sorted(zip(result.recall, classes, strict=True))[:5]
    shares = ", ".join(f"{printable(name)} {share:.1%}" for share, name in worst)
    print(f"  lowest recall: {shares}")
