"""Tables and lines that several commands print."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smash.cli.options import say
from smash.errors import NotFoundError
from smash.io.text import printable
from smash.run.layout import LATENCIES

if TYPE_CHECKING:
    from smash.exporting.export import Export
    from smash.exporting.quantisation import Quantisation
    from smash.run.child import Child
    from smash.run.run import Run
    from smash.study.study import Study

_TEXT_COLUMNS = ("id", "device", "strategy")  # aligned left; the others hold numbers


def print_candidates(study: Study, top: int) -> None:
    """Prints the best candidates of a study; with a prior also their ranks by score and prior.

    Raises:
        NotFoundError: The study has no candidates.
    """
    ranking = study.ranking()
    if not ranking:
        raise NotFoundError("the search has no candidates yet: repeat the command that began it")
    best = ranking[:top]
    first = best[0].candidate
    prior = study.prior
    ranked_by = f"ranked by score and {prior}, " if prior else ""
    ranks = ("rank", "by\nscore", "by\nprior") if prior else ("rank",)
    _print_table(
        f"{len(best)} best of {len(ranking)} candidates ({ranked_by}{first.examples:,} "
        f"{first.split} examples, generated weights)",
        (*ranks, "id", "error", "loss", "parameters", "MACs", "strategy"),
        (
            (
                rank,
                *((each.score_rank, each.proxy_rank) if prior else ()),
                each.candidate.id,
                f"{each.candidate.error:.2%}"
                + f" (partial, {each.candidate.examples:,})" * each.candidate.partial,
                f"{each.candidate.loss:.4f}",
                f"{each.candidate.params:,}",
                f"{each.candidate.macs:,}",
                each.candidate.strategy,
            )
            for rank, each in enumerate(best)
        ),
        # so that the table fits into 80 columns
        padding=(0, 1, 0, 0),
        show_edge=False,
    )


def print_pareto_front(study: Study) -> None:
    """Prints the Pareto front of a study's objectives, or of the score and the parameters."""
    from smash.searching.objectives import pareto_front, study_objectives

    objectives = study_objectives(study.settings)
    front = pareto_front(study.candidates(), objectives)
    ranks = {candidate.id: rank for rank, candidate in enumerate(study.ranked())}
    counts, times = "macs" in objectives, "latency" in objectives
    costs = ("parameters", *(["MACs"] * counts), *(["latency"] * times))
    _print_table(
        f"Pareto front of {', '.join(objectives)}: {len(front)} of {len(ranks)} candidates",
        ("rank", "id", "error", "loss", *costs, "strategy"),
        (
            (
                ranks[each.id],
                each.id,
                f"{each.error:.2%}",
                f"{each.loss:.4f}",
                f"{each.params:,}",
                *([f"{each.macs:,}"] * counts),
                *([f"{1000 * (each.latency or 0):.2f} ms"] * times),
                each.strategy,
            )
            for each in front
        ),
    )


def print_latencies(run: Run, study: Study) -> None:
    """Times the ONNX graphs of the best candidates, and prints them beside the children's times."""
    from smash.errors import MissingExtraError
    from smash.exporting.latency import time_graphs
    from smash.profiling.latency import TIMED
    from smash.runtime.progress import on_terminal

    try:
        time_graphs(run, study.ranked()[:TIMED], on_terminal)
    except MissingExtraError as error:
        say(f"times of exported graphs are left out: {error}")
    print_stored_latencies(run.path, study)


def print_stored_latencies(run: Path, study: Study) -> None:
    """Prints the times of the best candidates that a run holds; nothing if it holds none."""
    if not (run / LATENCIES).is_file():
        return
    from smash.profiling.latency import TIMED
    from smash.reporting.contents import latency_rows

    rows = latency_rows(run, study.ranked()[:TIMED])
    if rows:
        _print_table(
            "Milliseconds for one input: child while searching, exported graph",
            ("rank", "id", "child", "device", "threads", "ONNX Runtime", "threads"),
            rows,
            collapse_padding=True,
        )


def _print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], **layout: Any
) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(title)), box=box.SIMPLE, **layout)
    for name in columns:
        table.add_column(name, justify="left" if name in _TEXT_COLUMNS else "right")
    for row in rows:
        table.add_row(*(escape(printable(str(cell))) for cell in row))
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
