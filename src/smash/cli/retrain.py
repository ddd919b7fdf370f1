"""``smash retrain``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from smash.cli.options import (
    DeviceOption,
    RayOption,
    RunArgument,
    TensorboardOption,
    announce,
    open_run,
)
from smash.cli.tables import print_child, print_export
from smash.errors import InvalidValueError
from smash.run.layout import STUDY, check_searched, find_run


def retrain(
    run: RunArgument,
    rank: Annotated[int, typer.Option(help="Which candidate; 0 is the best.")] = 0,
    ranks: Annotated[
        str | None,
        typer.Option(help="Train several instead, such as 0-4 or 0,2,5; what is there is kept."),
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="Train this many briefly, then the best of them fully.")
    ] = None,
    top_epochs: Annotated[
        int | None,
        typer.Option(help="Length of the brief trainings; a fifth of --epochs by default."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Train a reference network instead: resnet or wrn with about as many parameters "
            "as the candidate, or one by name, such as wrn-16-2 or resnet18."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the child's folder; by default id and recipe.")
    ] = None,
    init: Annotated[str, typer.Option(help="scratch, or generated.")] = "scratch",
    recipe: Annotated[
        str,
        typer.Option(
            help="published; or modern: smoothed labels, mixup, averaged weights, warm-up, and no "
            "decay of norms."
        ),
    ] = "published",
    epochs: Annotated[int, typer.Option(help="Passes over the training split.")] = 30,
    patience: Annotated[
        int | None,
        typer.Option(help="Stop after so many epochs without a lower validation error."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Examples a step.")] = 50,
    learning_rate: Annotated[float, typer.Option(help="At the start of the cosine.")] = 0.1,
    weight_decay: Annotated[
        float,
        typer.Option(help="Of all parameters; with --recipe modern, not of norms and biases."),
    ] = 1e-4,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 0,
    augment: Annotated[
        bool, typer.Option(help="Shift and flip training images where the data says so.")
    ] = True,
    class_weights: Annotated[
        bool, typer.Option("--class-weights", help="Weigh rare classes more.")
    ] = False,
    precision: Annotated[
        str, typer.Option(help="fp32, bf16, fp16, or auto: bf16 on a GPU.")
    ] = "auto",
    validate_every: Annotated[
        int, typer.Option(help="Epochs between validations; 0 for none before the last epoch.")
    ] = 1,
    keep_every: Annotated[
        int | None, typer.Option(help="Epochs between kept copies of the weights.")
    ] = None,
    tensorboard: TensorboardOption = False,
    export: Annotated[
        Path | None,
        typer.Option(help="Then write it as 'smash export' does: .onnx, .safetensors or .py."),
    ] = None,
    device: DeviceOption = "auto",
    ray: RayOption = None,
) -> None:
    """Train a candidate, or a reference network, and evaluate it on the test split."""
    find_run(run)
    if export is not None:
        from smash.exporting.export import check_place

        check_place(export)  # now, and not once it is trained
    if baseline is None:
        check_searched(run / STUDY)
    several = _ranks(
        ranks,
        ray,
        {
            "rank": rank or None,
            "top": top,
            "top_epochs": top_epochs,
            "baseline": baseline,
            "name": name,
            "export": export,
            "tensorboard": tensorboard or None,
        },
    )
    from smash.runtime.progress import on_terminal
    from smash.training.children import retrain_several
    from smash.training.retrain import retrain as retrain_run

    opened = open_run(run)
    if tensorboard:
        opened.show_in_tensorboard()
    settings: dict[str, Any] = {
        "init": init,
        "recipe": recipe,
        "epochs": epochs,
        "patience": patience,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "seed": seed,
        "augment": augment,
        "class_weights": class_weights,
        "precision": precision,
        "validate_every": validate_every,
        "keep_every": keep_every,
    }
    if several:
        for each in retrain_several(
            opened, several, device=device, ray=ray, progress=on_terminal, **settings
        ):
            print_child(each)
        return
    child = retrain_run(
        opened,
        rank,
        top=top,
        top_epochs=top_epochs,
        baseline=baseline,
        name=name,
        device=device,
        progress=on_terminal,
        announce=announce,
        **settings,
    )
    print_child(child)
    if export is not None:
        from smash.exporting import export as export_child

        print_export(export_child(child, export))


def _ranks(ranks: str | None, ray: str | None, others: Mapping[str, object]) -> list[int]:
    """Which candidates are meant by ``0-4`` or ``0,2,5``; none where it was not asked for several.

    Args:
        ranks: What was given.
        ray: What was given for it.
        others: Options that are for one child, by name; None where they were not given.
    """
    if ranks is None:
        if ray is not None:
            raise InvalidValueError(
                f"ray trains several children at once, got {ray!r} for one: add --ranks, as in "
                "--ranks 0-4, or leave --ray out"
            )
        return []
    faults = [
        f"{name} is for one child, got {value!r} with ranks {ranks!r}: leave one of them out"
        for name, value in others.items()
        if value is not None
    ]
    found: list[int] = []
    for part in ranks.split(","):
        first, dash, last = part.strip().partition("-")
        ends = (first, last if dash else first)
        if not all(end.isdecimal() and len(end) < 7 for end in ends) or int(ends[1]) < int(ends[0]):
            faults.append(f"ranks must be numbers and ranges such as 0-4 or 0,2,5, got {ranks!r}")
            break
        found += range(int(ends[0]), int(ends[1]) + 1)
    if faults:
        raise InvalidValueError(*faults)
    return found
