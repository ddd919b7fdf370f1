"""``smash evaluate``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from smash.cli.options import DeviceOption, JsonOption
from smash.io.text import printable
from smash.run.layout import check_child


def evaluate(
    child: Annotated[Path, typer.Argument(metavar="CHILD", help="RUN/children/NAME.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Evaluate a trained child on one split of its data."""
    check_child(child)
    from smash.run.child import Child
    from smash.runtime.device import choose_device

    trained = Child.open(child)
    found = trained.evaluate(split, choose_device(device))
    if as_json:
        print(json.dumps(asdict(found)))
        return
    print(
        f"{found.split}: error {found.error:.2%}, top-5 error {found.top5_error:.2%}, "
        f"macro-F1 {found.macro_f1:.4f}, loss {found.loss:.4f} on {found.examples:,} examples"
    )
    worst = sorted(zip(found.recall, trained.run.data.classes, strict=True))[:5]
    shares = ", ".join(f"{printable(name)} {share:.1%}" for share, name in worst)
    print(f"  lowest recall: {shares}")
