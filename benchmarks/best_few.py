"""What does a brief training of the K best buy? Regret against minutes.

Of a run with ranked candidates, trains the best 20 fully, with several seeds: their mean test error
is the truth. Then trains the same ones briefly, from scratch and from generated weights, and picks
the best of K by validation loss or error, as ``smash retrain --top K`` does::

    python benchmarks/best_few.py digits RUN

RUN is a run that ``benchmarks/recipes.py`` has left, DATA and its options those that it was made
from. A repeated command goes on where it was cut; the last lines are the table.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from subsets import load

import smash
from smash.agreement import kendall_tau
from smash.progress import on_terminal


def trained(run: smash.Run, name: str, rank: int, **asked: Any) -> smash.Child:
    """A trained child; one that is there is not trained again."""
    path = run.child_path(name)
    if (path / "result.json").is_file():
        return smash.Child.open(path)
    return smash.retrain(run, rank, name=name, progress=on_terminal, **asked)


def minutes(child: smash.Child) -> float:
    """How long a child was trained and validated."""
    from smash.run import MetricsLog

    return float(MetricsLog(child.path / "metrics.jsonl").rows()[-1]["seconds"]) / 60


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="digits, or a folder with train and test")
    parser.add_argument("run", type=Path)
    parser.add_argument("--per-class", type=int, default=500)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--true-epochs", type=int, default=15)
    parser.add_argument("--true-seeds", nargs="+", type=int, default=[100, 101])
    parser.add_argument("--brief-epochs", nargs="+", type=int, default=[1, 3])
    parser.add_argument("--few", nargs="+", type=int, default=[1, 5, 20])
    given = parser.parse_args()
    run = smash.Run.open(given.run)
    run.data = load(given.data, given.per_class, given.side)
    ranks = range(given.candidates)
    truths, full = [], []
    for rank in ranks:
        children = [
            trained(run, f"true-{rank}-s{seed}", rank, epochs=given.true_epochs, seed=seed)
            for seed in given.true_seeds
        ]
        truths.append(statistics.fmean(child.result["test"]["error"] for child in children))
        full.append(statistics.fmean(minutes(child) for child in children))
    best, typical = min(truths), statistics.fmean(truths)
    print(f"true errors of {len(truths)}: best {best:.2%}, mean {typical:.2%}")
    print("| K | brief training | regret, points | minutes | τ within the best few |")
    print("| --- | --- | --- | --- | --- |")
    score = kendall_tau([float(rank) for rank in ranks], truths)
    print(f"| 1 | none | {100 * (truths[0] - best):.2f} | {full[0]:.2f} | {score:.2f} |")
    for init in ("scratch", "generated"):
        for epochs in given.brief_epochs:
            brief = [
                trained(
                    run,
                    f"brief-{rank}-{init}-e{epochs}",
                    rank,
                    epochs=epochs,
                    init=init,
                    test=False,
                )
                for rank in ranks
            ]
            spent = [minutes(child) for child in brief]
            for by in ("loss", "error"):
                found = [child.result["val"][by] for child in brief]
                for few in (few for few in given.few if few > 1):
                    picked = found.index(min(found[:few]))
                    tau = kendall_tau(found[:few], truths[:few])
                    total = sum(spent[:few]) + full[picked]
                    regret = 100 * (truths[picked] - best)
                    words = f"{epochs} epoch{'s' * (epochs > 1)}, {init}, by {by}"
                    print(f"| {few} | {words} | {regret:.2f} | {total:.2f} | {tau:.2f} |")


if __name__ == "__main__":
    main()
