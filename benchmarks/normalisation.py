"""Which normalisation of ops ranks better: ``bare`` or ``batch``?

For each, trains a SMASH network, scores random architectures, trains the same architectures from
scratch, and reports the rank correlation of score and true error::

    python benchmarks/normalisation.py DATA --out FOLDER

DATA should have no test split of its own: then the true error is measured on a part of the
training data that neither the score nor the training sees, and no test data chooses a default.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from scipy.stats import kendalltau

import smash
from smash.progress import on_terminal


def main() -> None:
    """Runs the comparison; a repeated command goes on where it was cut."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--epochs", type=int, default=10, help="of the SMASH network")
    parser.add_argument("--true-epochs", type=int, default=4, help="of each candidate")
    parser.add_argument("--candidates", type=int, default=24)
    parser.add_argument("--normalisation", nargs="+", default=["bare", "batch"])
    given = parser.parse_args()
    data = smash.load_data(given.data)
    for normalisation in given.normalisation:
        out = given.out / normalisation
        run = smash.train(
            data,
            out,
            epochs=given.epochs,
            preset=given.preset,
            options={"normalisation": normalisation},
            resume=out.exists(),
            progress=on_terminal,
        )
        study = smash.search(
            run, random=given.candidates, perturb=0, markov=0, progress=on_terminal
        )
        ranked = study.ranked()
        true = []
        for rank, candidate in enumerate(ranked):
            done = [
                path
                for path in (out / "children").glob(f"{candidate.id}*")
                if (path / "result.json").exists()
            ]
            child = (
                smash.Child.open(done[0])
                if done
                else smash.retrain(run, rank, epochs=given.true_epochs, progress=on_terminal)
            )
            true.append(child.result["test"]["error"])
        row = {
            "normalisation": normalisation,
            "smash_val_loss": run.metrics.rows()[-1]["val_loss"],
            "candidates": len(ranked),
            "kendall_tau": kendalltau([one.loss for one in ranked], true).statistic,
            "kendall_tau_params": kendalltau([-one.params for one in ranked], true).statistic,
            "kendall_tau_macs": kendalltau([-one.macs for one in ranked], true).statistic,
            "best_true_error": min(true),
            "true_error_of_best_ranked": true[0],
            "mean_true_error": sum(true) / len(true),
        }
        (given.out / f"{normalisation}.json").write_text(json.dumps(row, indent=2) + "\n")
        print(json.dumps(row))


if __name__ == "__main__":
    main()
