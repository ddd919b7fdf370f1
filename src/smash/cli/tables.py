"""tables."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from smash.errors import NotFoundError
from smash.io.text import printable

if TYPE_CHECKING:
    from smash.exporting import Export
    from smash.exporting.quantisation import Quantisation
    from smash.run.child import Child
    from smash.run.run import Run
    from smash.study.study import Study
from smash.cli.options import say


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

    from smash.searching.objectives import front, of_study

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
    from smash.exporting.latency import time_graphs
    from smash.profiling.latency import TIMED
    from smash.runtime.progress import on_terminal

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

    from smash.profiling.latency import TIMED
    from smash.reporting.contents import latency_rows

    rows = latency_rows(run, [one.candidate for one in study.ranking()[:TIMED]])
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
            f"{split}: error {found.error:.2%}, loss {found.loss:.4f} on {found.examples:,} "
            "examples"
        )
    say(f"{child.path}: {child.record.params:,} parameters, {child.record.macs:,} MACs")


def print_export(export: Export) -> None:
    """Prints the files of an export, and its difference to the child."""
    for file in export.files:
        print(printable(file))
    parity = export.parity
    batches = " and ".join(map(str, parity.batches))
    say(
        f"checked with batches of {batches} examples: its logits differ from the child's by at "
        f"most {parity.difference:.1e} (allowed: {parity.allowed:.1e})"
    )
    if export.quantisation is not None:
        print_quantisation(export.quantisation)
    say(f"Next: smash predict {shlex.quote(str(export.files[0]))} FILES")


def print_quantisation(quantisation: Quantisation) -> None:
    """Prints the cost of int8, beside float32."""
    from smash.exporting.quantisation import NOTABLE_LOSS

    for split, (before, after) in quantisation.errors.items():
        print(f"{split}: error {before:.2%} in float32, {after:.2%} in int8")
    (large, small), (slow, fast) = quantisation.bytes, quantisation.seconds
    print(
        f"{large:,} bytes in float32, {small:,} in int8; {1000 * slow:.3g} ms and "
        f"{1000 * fast:.3g} ms for one input in ONNX Runtime, one thread"
    )
    say(f"int8 was calibrated on {quantisation.examples} training examples")
    if quantisation.loss > NOTABLE_LOSS:
        say(
            f"WARNING: int8 raises the validation error by {quantisation.loss:.2%}. Ship float32, "
            "or limit the loss with --max-loss"
        )
