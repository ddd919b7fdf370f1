"""What the commands share: arguments, loading with a word on what was found, tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smash.durable import parse_json
from smash.errors import InvalidValueError, NotFoundError
from smash.layout import STUDY, check_searched, find_run
from smash.leaving import speaks

if TYPE_CHECKING:
    from smash.children import Child
    from smash.data import Data
    from smash.exporting import Export
    from smash.run import Run
    from smash.study import Study

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")]
TensorboardOption = Annotated[
    bool, typer.Option("--tensorboard", help="Write curves for TensorBoard, in RUN/tensorboard.")
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="auto|local|HOST:PORT",
        help="Work on a Ray cluster: this machine's, a new one of this machine alone, or another.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def say(words: str) -> None:
    """Tells the user something that is not a result: on standard error."""
    if speaks():
        print(words, file=sys.stderr)


def announce(lines: list[str]) -> None:
    """Tells several things, a line each."""
    for line in lines:
        say(line)


def load(source: str, **options: Any) -> Data:
    """Loads data and tells what was found."""
    from smash.data import load_data

    data = load_data(source, **options)
    task = data.task
    say(
        f"{data.name}: {len(data.train):,} training, {len(data.val):,} validation and "
        f"{len(data.test):,} test examples of {'×'.join(map(str, task.size))}, {task.channels} "
        f"channel{'s' * (task.channels > 1)}, {task.classes} classes"
    )
    for note in data.notes:
        say(f"  {note}")
    return data


def open_run(path: Path) -> Run:
    """Finds a run. What is wrong with its folder is said before torch is imported."""
    find_run(path)
    from smash.run import Run

    return Run.open(path)


def open_study(path: Path) -> Study:
    """Finds the study of a run."""
    find_run(path)
    check_searched(path / STUDY)
    from smash.study import Study

    return Study(path / STUDY)


def key_values(pairs: list[str]) -> dict[str, Any]:
    """Reads KEY=VALUE; what a value must be, the space says."""
    faults = [
        f"option {pair!r} must be KEY=VALUE, such as depth=6" for pair in pairs if "=" not in pair
    ]
    if faults:
        raise InvalidValueError(*faults)
    return {key: _plain(value) for key, _, value in (pair.partition("=") for pair in pairs)}


def _plain(value: str) -> Any:
    try:
        return parse_json(value)
    except ValueError:
        return value


def print_candidates(study: Study, top: int) -> None:
    """Prints the best candidates of a study as a table; with a prior, each ranking apart.

    Raises:
        NotFoundError: There are none.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    ranking = study.ranking()
    if not ranking:
        raise NotFoundError("the search has no candidates yet: repeat the command that began it")
    best = ranking[:top]
    first = best[0].candidate
    prior = study.prior
    ranked_by = f"ranked by score and {prior}, " if prior else ""
    table = Table(
        title=f"{len(best)} best of {len(ranking)} candidates ({ranked_by}"
        f"{first.examples:,} {first.split} examples, generated weights)",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),  # so that all of it fits into 80 columns
        show_edge=False,
    )
    ranks = ("rank", "by\nscore", "by\nprior") if prior else ("rank",)
    for name in (*ranks, "id", "error", "loss", "parameters", "MACs", "strategy"):
        table.add_column(name, justify="left" if name in ("id", "strategy") else "right")
    for rank, each in enumerate(best):
        one = each.candidate
        table.add_row(
            str(rank),
            *([str(each.score_rank), str(each.proxy_rank)] if prior else []),
            one.id,
            f"{one.error:.2%}" + f" (partial, {one.examples:,})" * one.partial,
            f"{one.loss:.4f}",
            f"{one.params:,}",
            f"{one.macs:,}",
            one.strategy,
        )
    Console().print(table)


def print_front(study: Study) -> None:
    """Prints the Pareto front of a study: of its objectives, or of the score and the parameters."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from smash.objectives import front, of_study

    objectives = of_study(study.settings)
    best = front(study.candidates(), objectives)
    ranks = {one.id: rank for rank, one in enumerate(study.ranked())}
    table = Table(
        title=f"Pareto front of {', '.join(objectives)}: {len(best)} of {len(ranks)} candidates",
        box=box.SIMPLE,
    )
    counted, timed = "macs" in objectives, "latency" in objectives
    costs = ("parameters", *(["MACs"] * counted), *(["latency"] * timed))
    for name in ("rank", "id", "error", "loss", *costs, "strategy"):
        table.add_column(name, justify="left" if name in ("id", "strategy") else "right")
    for one in best:
        table.add_row(
            str(ranks[one.id]),
            one.id,
            f"{one.error:.2%}",
            f"{one.loss:.4f}",
            f"{one.params:,}",
            *([f"{one.macs:,}"] * counted),
            *([f"{1000 * (one.latency or 0):.2f} ms"] * timed),
            one.strategy,
        )
    Console().print(table)


def print_latencies(run: Run, study: Study) -> None:
    """Times the ONNX graphs of the ten best, and prints them beside the times of the children."""
    from smash.errors import MissingExtraError
    from smash.exporting.timing import time_graphs
    from smash.latency import TIMED
    from smash.progress import on_terminal

    best = [one.candidate for one in study.ranking()[:TIMED]]
    try:
        time_graphs(run, best, on_terminal)
    except MissingExtraError as error:
        say(f"times of exported graphs are left out: {error}")
    show_latencies(run.path, study)


def show_latencies(run: Path, study: Study) -> None:
    """Prints times of the ten best that the run keeps; nothing where there are none."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from smash.latency import TIMED, times_in_words

    rows = times_in_words(run, [one.candidate for one in study.ranking()[:TIMED]])
    if not rows:
        return
    table = Table(
        title="Milliseconds for one input: child while searching, exported graph",
        box=box.SIMPLE,
        collapse_padding=True,
    )
    for name in ("rank", "id", "child", "device", "threads", "ONNX Runtime", "threads"):
        table.add_column(name, justify="left" if name in ("id", "device") else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_child(child: Child) -> None:
    """Prints how good a trained child is."""
    for split, found in child.result.items():
        print(
            f"{split}: error {found['error']:.2%}, loss {found['loss']:.4f} "
            f"on {found['examples']:,} examples"
        )
    say(f"{child.path}: {child.about['params']:,} parameters, {child.about['macs']:,} MACs")


def print_export(made: Export) -> None:
    """Prints the files of an export, and how near it comes to the child."""
    for file in made.files:
        print(file)
    parity = made.parity
    batches = " and ".join(map(str, parity.batches))
    say(
        f"ran it with {batches} examples: its logits differ from the child's by at most "
        f"{parity.difference:.1e}, and may by {parity.allowed:.1e}"
    )
    say(f"Next: smash predict {made.files[0]} FILES")
