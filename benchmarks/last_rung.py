"""What does a brief training of the K best cells buy? Regret against minutes, by real accuracies.

Ranks a part of a table by score and prior, as ``smash correlate`` does, trains the 20 best briefly,
from scratch and from generated weights, and picks the best of K by validation loss or error, as
``smash retrain --top K`` does::

    python benchmarks/last_rung.py RUN --table TABLE.csv --column COLUMN --half second

RUN holds a trained SMASH network of the cell space. Regret is what the picked cell has less than
the best of that part. A repeated command goes on where it was cut.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

import smash
from smash.config import RetrainSettings
from smash.correlation.ground_truth import Known, part_of, read_table
from smash.correlation.statistics import kendall_tau
from smash.data import Split
from smash.io.measurements import Ledger
from smash.profiling.cost import measure
from smash.run.child import Child, child_name
from smash.run.layout import LEDGER
from smash.run.metrics_log import MetricsLog
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.progress import on_terminal
from smash.scoring.measure import measure_companion
from smash.scoring.proxies import PRIORS, together
from smash.training.children import Order, train_children


def main() -> None:
    """Runs the comparison; prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--table", required=True)
    parser.add_argument("--column", required=True)
    parser.add_argument("--half", choices=["first", "second"], default="first")
    parser.add_argument("--examples", type=int, default=500, help="to score on")
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=1, help="of the brief training")
    parser.add_argument("--few", nargs="+", type=int, default=[1, 5, 20])
    given = parser.parse_args()
    run = Run.open(given.run)
    known = ranked(run, given)
    best = max(one.truth for one in known)
    few = known[: given.candidates]
    print(f"{len(known)} cells, the best {best:.2f}; {len(few)} are trained")
    print("| K | brief training | regret, points | minutes | τ among the K |")
    print("| --- | --- | --- | --- | --- |")
    print(f"| 1 | none | {best - few[0].truth:.2f} | 0 | |")
    # Weights of a proxy do not fit what is trained.
    for init in ("scratch", "generated") if run.search_space is run.space else ("scratch",):
        children = trained(run, few, RetrainSettings(init=init, epochs=given.epochs))
        spent = [
            MetricsLog(child.path / "metrics.jsonl").rows()[-1]["seconds"] / 60
            for child in children
        ]
        for by in ("loss", "error"):
            found = [child.result["val"][by] for child in children]
            for k in (k for k in given.few if k > 1):
                truths = [one.truth for one in few[:k]]
                picked = truths[found.index(min(found[:k]))]
                tau = kendall_tau([-value for value in found[:k]], truths)
                words = f"{given.epochs} epoch{'s' * (given.epochs > 1)}, {init}, by {by}"
                print(
                    f"| {k} | {words} | {best - picked:.2f} | {sum(spent[:k]):.1f} | {tau:.2f} |",
                    flush=True,
                )


def ranked(run: Run, given: argparse.Namespace) -> list[Known]:
    """The cells of the part, best first by score and the space's prior."""
    asked = {"column": given.column, "half": given.half, "examples": given.examples}
    found = smash.correlate(run, table=given.table, progress=on_terminal, **asked)
    known = part_of(read_table(given.table, given.column, run.space), run.space, given.half)
    pairs = [(one.id, one.architecture) for one in known]
    ledger, place = Ledger(run.path / LEDGER), choose_device("auto")
    numbers = measure_companion(run, PRIORS[run.space.name], pairs, ledger, place, on_terminal)
    scores = np.asarray([score for _, score, _ in found.points])
    return [known[place] for place in np.argsort(together(scores, numbers), kind="stable")]


def trained(run: Run, few: Sequence[Known], settings: RetrainSettings) -> list[Child]:
    """Trains cells briefly; those that were trained are kept."""
    orders = []
    for one in few:
        cost = measure(run.space, one.architecture, run.data.task)
        about = {
            "id": one.id,
            "architecture": run.space.to_json(one.architecture),
            "params": cost.params,
            "macs": cost.macs,
        }
        orders.append(Order(run.child_path(child_name(one.id, settings)), about, settings))
    return train_children(run, orders, on_validation, progress=on_terminal)


def on_validation(data: smash.Data, place: torch.device) -> tuple[smash.Data, Mapping[str, Split]]:
    """Judges on the validation split alone."""
    data = data.to(place)
    return data, {"val": data.val}


if __name__ == "__main__":
    main()
