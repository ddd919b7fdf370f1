"""Tables and lines that several commands print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smash.cli.options import program, quoted, say
from smash.errors import NotFoundError
from smash.io.text import printable
from smash.run.layout import LATENCIES

if TYPE_CHECKING:
    from smash.evaluation import Evaluation
    from smash.exporting.export import Export
    from smash.exporting.quantisation import Quantisation
    from smash.run.child_folder import ChildFolder
    from smash.run.run import Run
    from smash.study.candidate import Candidate
    from smash.study.study import Study

_SHOWN = ("val", "test")
_FRONT_COLUMNS: Mapping[str, tuple[str, Callable[[Candidate], str]]] = {
    "top5_error": ("top-5", lambda each: f"{each.top5_error:.2%}"),
    "macs": ("MACs", lambda each: f"{each.macs:,}"),
    "memory": ("RAM", lambda each: f"{each.memory:,}"),
    "flash": ("flash", lambda each: f"{each.flash:,}"),
    "latency": ("latency", lambda each: f"{1000 * (each.latency or 0):.2f} ms"),
}
"""Headings and cells of the objectives that not every front shows."""

_TEXT_COLUMNS = ("id", "device", "strategy", "child")  # aligned left; the others hold numbers


def print_candidates(study: Study, top: int) -> None:
    """Prints the best candidates of a study; with a prior also their ranks by score and prior.

    Raises:
        NotFoundError: The study has no candidates.
    """
    best, count = study.best(top)
    if not best:
        raise NotFoundError("the search has no candidates yet: repeat the command that began it")
    first = best[0].candidate
    prior = study.prior
    ranked_by = f"ranked by score and {prior}, " if prior else ""
    by_both = best[0].proxy_rank is not None
    ranks = ("rank", "by\nscore", "by\nprior") if by_both else ("rank",)
    _print_table(
        f"{len(best)} best of {count:,} candidates ({ranked_by}{first.examples:,} "
        f"{first.split} examples, SMASH weights)",
        (*ranks, "id", "error", "loss", "parameters", "MACs", "strategy"),
        (
            (
                rank,
                *((each.score_rank, each.proxy_rank) if by_both else ()),
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
        padding=0 if by_both else (0, 1, 0, 0),
        show_edge=False,
    )


def trust_of(run: Path, study: Study) -> str:
    """Says how far the ranking of a study can be trusted."""
    from smash.run.trust import Trust

    trust = Trust.of_run(run)
    rank_by = (study.settings or {}).get("rank_by", "loss")
    tau = None if trust is None else trust.tau_of(rank_by, study.prior)
    if trust is None or tau is None or not tau.is_defined:
        return (
            "how far this ranking agrees with trained networks was not checked: "
            f"{program()} correlate {quoted(run)} --minutes 10"
        )
    return (
        f"this ranking agrees with {printable(trust.truth)} by a Kendall τ of {tau.value:.2f} "
        f"(95%: {tau.low:.2f}…{tau.high:.2f}; 1 is the same order, 0 chance)"
    )


def print_pareto_front(study: Study) -> None:
    """Prints the Pareto front of a study's objectives, or of the score and the parameters."""
    from smash.searching.objectives import pareto_front, study_objectives

    objectives = study_objectives(study.settings)
    front = pareto_front(study.candidates(), objectives)
    ranks = {candidate.id: rank for rank, candidate in enumerate(study.ranked())}
    shown = [column for name, column in _FRONT_COLUMNS.items() if name in objectives]
    headings = (heading for heading, _ in shown)
    _print_table(
        f"Pareto front of {', '.join(objectives)}: {len(front)} of {len(ranks)} candidates",
        ("rank", "id", "error", "loss", "parameters", *headings, "strategy"),
        (
            (
                ranks[each.id],
                each.id,
                f"{each.error:.2%}",
                f"{each.loss:.4f}",
                f"{each.params:,}",
                *(cell(each) for _, cell in shown),
                each.strategy,
            )
            for each in front
        ),
    )


def print_latencies(run: Run, study: Study) -> None:
    """Times the ONNX graphs of the best candidates, and prints them beside the children's times."""
    from smash.errors import MissingExtraError
    from smash.exporting.latency import time_graphs
    from smash.profiling.stored_times import TIMED
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
    from smash.profiling.stored_times import TIMED
    from smash.reporting.latencies import latency_rows

    best, _ = study.best(TIMED)
    rows = latency_rows(run, [each.candidate for each in best])
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
    """Prints a table; a tuple in a row becomes a cell of several lines."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(title)), box=box.SIMPLE, **layout)
    for name in columns:
        table.add_column(name, justify="left" if name in _TEXT_COLUMNS else "right")
    for row in rows:
        cells = (cell if isinstance(cell, tuple) else (cell,) for cell in row)
        table.add_row(*("\n".join(escape(printable(line)) for line in lines) for lines in cells))
    Console().print(table)


def print_child(child: ChildFolder) -> None:
    """Prints how good a trained child is, and the mean over seeds where there are several."""
    from smash.evaluation import mean_error
    from smash.run.child_folder import finished_children, one_of_each_seed, overfits, same_but_seed

    run = child.path.absolute().parent.parent
    result = child.result
    for split, found in result.items():
        if split != "train":
            print(
                f"{split}: error {with_interval(found)}, loss {found.loss:.4f} on "
                f"{found.examples:,} examples"
            )
    groups = same_but_seed(finished_children(run))
    (group,) = (group for group in groups if child.path.name in [each.path.name for each in group])
    seeds = one_of_each_seed(group)
    if len(seeds) > 1:
        mean, *interval = mean_error([each.result["val"] for each in seeds])
        print(f"val: mean error of {len(seeds)} seeds {_percent_of(mean, interval)}")
    record = child.record
    say(
        f"{child.path}: {record.params:,} parameters, {record.macs:,} MACs, {record.memory:,} "
        f"bytes of RAM, {record.flash:,} of flash"
    )
    if overfits(result):
        say(
            f"the error on training examples is {result['train'].error:.2%}, far below that of "
            "validation: more data, more augmentation or a smaller network may do better"
        )
    if "test" in result:
        say(looks_in_words(run))


def looks_in_words(run: Path) -> str:
    """Says how often the test split of a run has been looked at."""
    from smash.run.child_folder import looks_at_test

    looks = looks_at_test(run)
    return (
        f"the test split has been looked at for {looks} trained network{'s' * (looks != 1)} of "
        "this run; choose by validation, or the error of the chosen one is too low"
    )


def with_interval(found: Evaluation) -> str:
    """Words an error with its 95% interval over examples."""
    return _percent_of(found.error, found.interval)


def _percent_of(error: float, interval: Sequence[float]) -> str:
    percent, bounds = _percent_above(error, interval)
    return f"{percent} (95%: {bounds})"


def _percent_above(error: float, interval: Sequence[float]) -> tuple[str, str]:
    low, high = interval
    return f"{error:.2%}", f"{100 * low:.1f}…{100 * high:.1f}"


def print_children(run: Path) -> None:
    """Prints the trained children of a run with their errors, best validated first."""
    from smash.evaluation import mean_error
    from smash.run.child_folder import finished_children, one_of_each_seed, same_but_seed

    children = finished_children(run)
    if not children:
        return

    def cells(child: ChildFolder) -> tuple[object, ...]:
        record, result = child.record, child.result
        errors = [
            _percent_above(result[split].error, result[split].interval) if split in result else ""
            for split in _SHOWN
        ]
        counts = (f"{record.params:,}", f"{record.macs:,}")
        return child.path.name, counts, (f"{record.memory:,}", f"{record.flash:,}"), *errors

    rows: list[tuple[object, ...]] = []
    for group in same_but_seed(children):
        rows += map(cells, group)
        seeds = one_of_each_seed(group)
        if len(seeds) > 1:
            mean, *interval = mean_error([child.result["val"] for child in seeds])
            rows.append((f"mean of {len(seeds)} seeds", "", "", _percent_above(mean, interval), ""))
    _print_table(
        "Trained children; errors with their 95% intervals, RAM and flash in bytes in int8",
        ("child", "parameters\nMACs", "RAM\nflash", "validation\nerror", "test\nerror"),
        rows,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )


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
    if export.version is not None:
        say(f"ONNX opset {export.version.opset}, IR version {export.version.ir}")
    if export.quantisation is not None:
        print_quantisation(export.quantisation)
    say(f"Next: smash predict {quoted(export.files[0])} FILES")


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
    tuned = f"fine-tuned for {quantisation.epochs} epochs and " * bool(quantisation.epochs)
    say(f"int8 was {tuned}calibrated on {quantisation.examples} training examples")
    if quantisation.loss > NOTABLE_LOSS:
        say(
            f"WARNING: int8 raises the validation error by {quantisation.loss:.2%}. Fine-tune with "
            f"--quantise-epochs {quantisation.more_epochs}, ship float32, or limit the loss with "
            "--max-loss"
        )
