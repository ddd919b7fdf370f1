"""``smash train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smash.cli.options import TensorboardOption, announce, load, program, quoted, settings_options
from smash.config import LoadSettings
from smash.data.names import check_source
from smash.errors import InvalidValueError
from smash.evaluation import SPLITS
from smash.run.layout import check_free, find_run
from smash.run.metrics_log import check_tensorboard
from smash.training.settings import TrainSettings


@settings_options
def train(
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    settings: TrainSettings,
    loading: LoadSettings,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="A name such as 'digits', a folder, or an .npz; optional with --resume.",
        ),
    ] = None,
    stem_stride: Annotated[int | None, typer.Option(help="Stride of the first layer.")] = None,
    tensorboard: TensorboardOption = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished run.")] = False,
) -> None:
    """Train a SMASH network. Under torchrun, several processes train it together."""
    if resume:
        find_run(out)
    else:
        check_free(out)
        if data is None:
            raise InvalidValueError("DATA is missing: name a data set, a folder or an .npz file")
    if data is not None:
        check_source(data)
    elif given := loading.given():
        raise InvalidValueError(
            *(f"{name} is read with DATA, which is missing: name it, or leave {name} out"
              for name in given)
        )  # fmt: skip
    from smash.cli.describe import announce_resumed, announce_run
    from smash.runtime.progress import on_terminal
    from smash.training.train import train as train_network

    if stem_stride is not None:
        settings = settings.replaced(options={**settings.options, "stem_stride": stem_stride})
    if tensorboard:
        check_tensorboard()
    run = train_network(
        None if data is None else load(data, loading),
        out,
        settings,
        resume=resume,
        tensorboard=tensorboard,
        progress=on_terminal,
        on_begin=announce_resumed if resume else announce_run,
    )
    words = f"trained {run.settings.training.length.total:,} steps"
    if rows := run.metrics.rows():
        error = f"{rows[-1]['val_error']:.1%} {SPLITS[rows[-1]['split']]}"
        words += f": with its weights, architectures drawn at random have {error} error"
    announce([words, f"Next: {program()} search {quoted(out)}"])
