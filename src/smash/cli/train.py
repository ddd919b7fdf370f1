"""``smash train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from smash.cli.options import TensorboardOption, announce, key_values, load, say
from smash.errors import InvalidValueError
from smash.io.files import check_exists
from smash.run.layout import check_free, find_run
from smash.run.metrics_log import check_tensorboard


def train(
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="A name such as 'digits', a folder, or an .npz; with --resume it may be left out.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training split; by default what suits.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Time to train for.")] = None,
    space: Annotated[
        str | None, typer.Option(help="The search space: memory-bank or nas-bench-201.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="original, v1, v2, small or tiny; by default what suits.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="An option of the space, such as depth=6; repeatable."),
    ] = None,
    hypernet: Annotated[
        str | None, typer.Option(help="Where weights come from: convolutional, lowrank or none.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples a step.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or sgd.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At the start.")] = None,
    schedule: Annotated[str | None, typer.Option(help="cosine or constant.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of shared weights, a step.")] = None,
    fixed_norms: Annotated[
        bool | None,
        typer.Option(help="Keep shared BatchNorms at the identity; by default what suits."),
    ] = None,
    snapshots: Annotated[
        int | None,
        typer.Option(help="Networks of the second half that rank together; by default what suits."),
    ] = None,
    proxy_size: Annotated[
        int | None, typer.Option(help="Longest side of images to search on; by default what suits.")
    ] = None,
    proxy_space: Annotated[
        bool | None,
        typer.Option(help="Search with smaller children than are trained; by default what suits."),
    ] = None,
    growing: Annotated[
        bool | None,
        typer.Option(help="Begin with small architectures; by default what suits."),
    ] = None,
    class_weights: Annotated[
        bool | None, typer.Option("--class-weights", help="Weigh rare classes more.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, bf16, fp16, or auto: bf16 on a GPU.")
    ] = None,
    validate_every: Annotated[int | None, typer.Option(help="Epochs between validations.")] = None,
    keep_every: Annotated[
        int | None, typer.Option(help="Epochs between kept copies of the network.")
    ] = None,
    same_architecture: Annotated[
        bool | None,
        typer.Option("--same-architecture", help="With torchrun: one for all processes."),
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Side to resize images to.")] = None,
    stem_stride: Annotated[int | None, typer.Option(help="Stride of the first layer.")] = None,
    dims: Annotated[int | None, typer.Option(help="Spatial axes of an .npz: 1, 2 or 3.")] = None,
    channels: Annotated[
        str | None, typer.Option(help="Channels of an .npz: none, first or last.")
    ] = None,
    val_fraction: Annotated[float, typer.Option(help="Part of the training split.")] = 0.1,
    test_fraction: Annotated[float, typer.Option(help="Where there is no test split.")] = 0.15,
    val_order: Annotated[
        str, typer.Option(help="What validates: stratified, or the last of the training split.")
    ] = "stratified",
    augment: Annotated[
        bool | None, typer.Option(help="Shift and flip training images; by default what suits.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of named data sets; by default SMASH_DATA.")
    ] = None,
    fold: Annotated[int | None, typer.Option(help="Part of STL-10, 0 to 9; all of them.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, or auto.")] = None,
    tensorboard: TensorboardOption = False,
    resume: Annotated[bool, typer.Option(help="Go on with an unfinished run.")] = False,
) -> None:
    """Train a SMASH network. Under torchrun, several processes train it together."""
    options = key_values(option or [])
    if resume:
        find_run(out)
    else:
        check_free(out)
        if data is None:
            raise InvalidValueError("DATA is missing: name a data set, a folder or an .npz file")
    if data is not None:
        check_exists(data)
    from smash.runtime.progress import on_terminal
    from smash.training.train import check_settings
    from smash.training.train import train as train_network

    if stem_stride is not None:
        options["stem_stride"] = stem_stride
    asked: dict[str, Any] = {
        "epochs": epochs,
        "minutes": minutes,
        "space": space,
        "preset": preset,
        "options": options or None,
        "hypernet": hypernet,
        "seed": seed,
        "device": device,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "weight_decay": weight_decay,
        "fixed_norms": fixed_norms,
        "snapshots": snapshots,
        "proxy_size": proxy_size,
        "proxy_space": proxy_space,
        "growing": growing,
        "augment": augment or None,  # asked for, it goes before what the space's recipe says
        "class_weights": class_weights,
        "precision": precision,
        "validate_every": validate_every,
        "keep_every": keep_every,
        "same_architecture": same_architecture,
    }
    check_settings(**asked)  # before the data is loaded, which may take its time
    if tensorboard:
        check_tensorboard()
    loaded = (
        None
        if data is None
        else load(
            data,
            image_size=image_size,
            dims=dims,
            channels=channels,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            val_order=val_order,
            augment=augment,
            data_dir=data_dir,
            fold=fold,
        )
    )
    run = train_network(
        loaded,
        out,
        resume=resume,
        tensorboard=tensorboard,
        progress=on_terminal,
        announce=announce,
        **asked,
    )
    rows = run.metrics.rows()
    found = (
        f": validation error {rows[-1]['val_error']:.1%} over random architectures" if rows else ""
    )
    say(f"trained {run.settings.training.steps:,} steps{found}. Next: smash search {out}")
