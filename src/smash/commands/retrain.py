"""``smash retrain``."""

from __future__ import annotations

from typing import Annotated

import typer

from smash.commands.common import DeviceOption, RunArgument, open_run, print_child


def retrain(
    run: RunArgument,
    rank: Annotated[int, typer.Option(help="Which candidate; 0 is the best.")] = 0,
    top: Annotated[
        int | None, typer.Option(help="Train this many briefly, then the best of them fully.")
    ] = None,
    top_epochs: Annotated[int | None, typer.Option(help="Length of the brief trainings.")] = None,
    init: Annotated[str, typer.Option(help="scratch, or generated.")] = "scratch",
    epochs: Annotated[int, typer.Option(help="Passes over the training split.")] = 30,
    batch_size: Annotated[int, typer.Option(help="Examples a step.")] = 50,
    learning_rate: Annotated[float, typer.Option(help="At the start of the cosine.")] = 0.1,
    weight_decay: Annotated[float, typer.Option(help="Of all parameters.")] = 1e-4,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train a candidate and evaluate it on the test split."""
    from smash.progress import on_terminal
    from smash.retraining import retrain as retrain_run

    child = retrain_run(
        open_run(run),
        rank,
        top=top,
        top_epochs=top_epochs,
        device=device,
        progress=on_terminal,
        init=init,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        seed=seed,
    )
    print_child(child)
