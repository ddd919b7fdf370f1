"""``smash demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smash.cli.options import DeviceOption, load, quoted, say
from smash.cli.tables import print_candidates, with_interval
from smash.run.layout import check_free
from smash.training.settings import RetrainSettings, TrainSettings


def demo(
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default the next free runs/demo-N.")
    ] = None,
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
) -> None:
    """Run the whole loop on scikit-learn's digits, in minutes."""
    out = out or _next_free(Path("runs"), "demo")
    check_free(out)
    from smash.cli.describe import announce_run
    from smash.reporting import report as write_report
    from smash.runtime.progress import on_terminal
    from smash.searching.search import search as search_run
    from smash.training.retrain import retrain as retrain_run
    from smash.training.train import train as train_network

    settings = TrainSettings(epochs=25, seed=seed, device=device)
    run = train_network(load("digits"), out, settings, progress=on_terminal, announce=announce_run)
    study = search_run(
        run, random=150, perturb=30, markov=30, seed=seed, device=device, progress=on_terminal
    )
    ranked = study.ranked()
    print_candidates(study, 5)
    retraining = RetrainSettings(epochs=15, seed=seed, device=device, test=True)
    best = retrain_run(run, retraining, progress=on_terminal)
    median = retrain_run(run, retraining, rank=len(ranked) // 2, progress=on_terminal)
    for name, child in (("best", best), ("median", median)):
        test = child.result["test"]
        print(
            f"{name + '-ranked':>13} retrained: test error {with_interval(test)} "
            f"({child.record.params:,} parameters, {test.examples} test examples)"
        )
    page = write_report(run)
    say(f"All of it is in {out}: open {page} in a browser, or try: smash show {quoted(out)}")


def _next_free(folder: Path, name: str) -> Path:
    number = 1
    while (path := folder / f"{name}-{number}").exists():
        number += 1
    return path
