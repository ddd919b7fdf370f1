"""The command line. It reads flags, calls the package and prints; nothing else.

What is heavy is imported in the commands: help and usage errors answer at once.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smash.errors import InvalidValueError, SmashError, unknown

if TYPE_CHECKING:
    from smash.children import Child
    from smash.data import Data
    from smash.run import Run
    from smash.study import Candidate, Study

app = typer.Typer(
    name="smash",
    help="One-shot neural architecture search through hypernetworks.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

OptionalDataArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[DATA]",
        help="A name such as 'digits', a folder, or an .npz; with --resume it may be left out.",
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    data: OptionalDataArgument = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time to train for.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="original, v1, v2, small or tiny; by default what suits.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="An option of the space, such as depth=6; repeatable."),
    ] = None,
    space: Annotated[str, typer.Option(help="The search space.")] = "memory-bank",
    hypernet: Annotated[str | None, typer.Option(help="convolutional or none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At the start.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side to resize images to.")] = None,
    stem_stride: Annotated[int | None, typer.Option(help="Stride of the first layer.")] = None,
    dims: Annotated[int | None, typer.Option(help="Spatial axes of an .npz: 1, 2 or 3.")] = None,
    channels: Annotated[
        str | None, typer.Option(help="Channels of an .npz: none, first or last.")
    ] = None,
    val_fraction: Annotated[float, typer.Option(help="Part of the training split.")] = 0.1,
    test_fraction: Annotated[float, typer.Option(help="Where there is no test split.")] = 0.15,
    augment: Annotated[
        bool | None, typer.Option(help="Shift and flip training images; by default what suits.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, or auto.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with an unfinished run.")] = False,
) -> None:
    """Train a SMASH network."""
    from smash.progress import on_terminal
    from smash.training import train as train_network

    if space != "memory-bank":
        raise InvalidValueError(unknown("space", space, ["memory-bank"]))
    options = _options(option or [])
    if stem_stride is not None:
        options["stem_stride"] = stem_stride
    if not resume:
        _check_free(out)
        if data is None:
            raise InvalidValueError("DATA is missing: name a data set, a folder or an .npz file")
    loaded = (
        None
        if data is None
        else _load(
            data,
            image_size=image_size,
            dims=dims,
            channels=channels,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            augment=augment,
        )
    )
    run = train_network(
        loaded,
        out,
        epochs=epochs,
        minutes=minutes,
        preset=preset,
        options=options or None,
        hypernet=hypernet,
        seed=seed,
        device=device,
        resume=resume,
        progress=on_terminal,
        batch_size=batch_size,
        learning_rate=learning_rate,
        announce=_announce,
    )
    last = run.metrics.rows()[-1]
    _say(
        f"trained {run.settings.training.steps:,} steps: validation error "
        f"{last['val_error']:.1%} over random architectures. Next: smash search {out}"
    )


@app.command()
def search(
    run: RunArgument,
    random: Annotated[int, typer.Option(help="Architectures to draw at random.")] = 500,
    perturb: Annotated[int, typer.Option(help="Changes of the best of those.")] = 100,
    markov: Annotated[int, typer.Option(help="Steps of the chain from the best.")] = 100,
    rate: Annotated[float, typer.Option(help="Probability that a setting is redrawn.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the proposals.")] = 0,
    rank_by: Annotated[str, typer.Option(help="loss or error, on the validation split.")] = "loss",
    examples: Annotated[int, typer.Option(help="Validation examples to score on.")] = 2000,
    max_params: Annotated[int | None, typer.Option(help="Most parameters of a child.")] = None,
    max_macs: Annotated[int | None, typer.Option(help="Most MACs of a child.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Rank architectures."""
    from smash.progress import on_terminal
    from smash.searching import search as search_run

    study = search_run(
        _open(run),
        random=random,
        perturb=perturb,
        markov=markov,
        rate=rate,
        seed=seed,
        rank_by=rank_by,  # type: ignore[arg-type] # checked there
        examples=examples,
        max_params=max_params,
        max_macs=max_macs,
        device=device,
        progress=on_terminal,
    )
    _print_candidates(study.ranked()[:5], len(study.candidates()))
    _say(f"Next: smash retrain {run}")


@app.command()
def show(
    run: RunArgument,
    top: Annotated[int, typer.Option(help="How many.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Show the best candidates."""
    if top < 1:
        raise InvalidValueError(f"top must be at least 1, got {top}")
    ranked = _study(run).ranked()
    if as_json:
        fields = ("id", "error", "loss", "params", "macs", "strategy", "partial")
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
    _print_candidates(ranked[:top], len(ranked))


@app.command()
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
        _open(run),
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
    _print_child(child)


@app.command()
def evaluate(
    child: Annotated[Path, typer.Argument(metavar="CHILD", help="RUN/children/NAME.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Evaluate a trained child."""
    from smash.children import Child
    from smash.device import choose_device

    found = Child.open(child).evaluate(split, choose_device(device))
    if as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    print(
        f"{found.split}: error {found.error:.2%}, top-5 error {found.top5_error:.2%}, "
        f"macro-F1 {found.macro_f1:.4f}, loss {found.loss:.4f} on {found.examples:,} examples"
    )


@app.command()
def demo(
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default the next free runs/demo-N.")
    ] = None,
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
) -> None:
    """Run the whole loop on scikit-learn's digits, in minutes."""
    from smash.progress import on_terminal
    from smash.retraining import retrain as retrain_run
    from smash.searching import search as search_run
    from smash.training import train as train_network

    out = out or _next_free(Path("runs"), "demo")
    _check_free(out)
    run = train_network(
        _load("digits"),
        out,
        epochs=25,
        seed=seed,
        device=device,
        progress=on_terminal,
        announce=_announce,
    )
    study = search_run(
        run, random=150, perturb=30, markov=30, seed=seed, device=device, progress=on_terminal
    )
    ranked = study.ranked()
    _print_candidates(ranked[:5], len(ranked))
    recipe: dict[str, Any] = {"epochs": 15, "seed": seed, "device": device, "progress": on_terminal}
    best = retrain_run(run, 0, **recipe)
    median = retrain_run(run, len(ranked) // 2, **recipe)
    for name, child in (("best", best), ("median", median)):
        test = child.result["test"]
        print(
            f"{name + '-ranked':>13} retrained: test accuracy {1 - test['error']:.2%} "
            f"({child.about['params']:,} parameters, {test['examples']} test examples)"
        )
    _say(f"All of it is in {out}: try 'smash show {out}'")


def main() -> None:
    """Runs the command and turns errors into exit codes: 1 failed, 2 wrong use, 130 interrupted."""
    try:
        code = app(standalone_mode=False)
    except SmashError as error:
        _fail(error.faults, error.exit_code)
    except typer.TyperException as error:
        _fail([f"{error.format_message()}{_given(error)} (see 'smash --help')"], 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail(
            ["interrupted; the state is saved, and the same command goes on (train: --resume)"], 130
        )
    except OSError as error:
        _fail([f"{error.filename or 'file'}: {error.strerror or error}"], 1)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _given(error: Exception) -> str:
    """The value that an option could not read; the parser's own words leave it out."""
    options = getattr(getattr(error, "param", None), "opts", [])
    arguments = [part for word in sys.argv[1:] for part in word.split("=", 1)]
    values = [value for option, value in pairwise(arguments) if option in options]
    return f", got {values[-1]!r}" if values else ""


def _fail(faults: Any, code: int) -> None:
    for fault in faults:
        print(f"smash: {' '.join(str(fault).split())}", file=sys.stderr)
    sys.exit(code)


def _say(words: str) -> None:
    print(words, file=sys.stderr)


def _load(source: str, **options: Any) -> Data:
    from smash.data import load_data

    data = load_data(source, **options)
    channels, *size = data.train.images.shape[1:]
    _say(
        f"{data.name}: {len(data.train):,} training, {len(data.val):,} validation and "
        f"{len(data.test):,} test examples of {'×'.join(map(str, size))}, {channels} "
        f"channel{'s' * (channels > 1)}, {len(data.classes)} classes"
    )
    for note in data.notes:
        _say(f"  {note}")
    return data


def _open(path: Path) -> Run:
    from smash.run import Run

    return Run.open(path)


def _study(path: Path) -> Study:
    from smash.study import Study

    return Study(_open(path).study_path)


def _announce(lines: list[str]) -> None:
    for line in lines:
        _say(line)


def _check_free(path: Path) -> None:
    from smash.run import check_free

    check_free(path)


def _next_free(folder: Path, name: str) -> Path:
    number = 1
    while (path := folder / f"{name}-{number}").exists():
        number += 1
    return path


def _options(pairs: list[str]) -> dict[str, Any]:
    """Reads KEY=VALUE; what a value must be, the space says."""
    faults = [
        f"option {pair!r} must be KEY=VALUE, such as depth=6" for pair in pairs if "=" not in pair
    ]
    if faults:
        raise InvalidValueError(*faults)
    return {key: _plain(value) for key, _, value in (pair.partition("=") for pair in pairs)}


def _plain(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _print_candidates(candidates: list[Candidate], total: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    first = candidates[0]
    table = Table(
        title=f"{len(candidates)} best of {total} candidates "
        f"({first.examples:,} {first.split} examples, generated weights)",
        box=box.SIMPLE,
    )
    for name in ("rank", "id", "error", "loss", "parameters", "MACs", "strategy"):
        table.add_column(name, justify="left" if name in ("id", "strategy") else "right")
    for rank, one in enumerate(candidates):
        table.add_row(
            str(rank),
            one.id,
            f"{one.error:.2%}" + " (partial)" * one.partial,
            f"{one.loss:.4f}",
            f"{one.params:,}",
            f"{one.macs:,}",
            one.strategy,
        )
    Console().print(table)


def _print_child(child: Child) -> None:
    for split, found in child.result.items():
        print(
            f"{split}: error {found['error']:.2%}, loss {found['loss']:.4f} "
            f"on {found['examples']:,} examples"
        )
    _say(f"{child.path}: {child.about['params']:,} parameters, {child.about['macs']:,} MACs")
