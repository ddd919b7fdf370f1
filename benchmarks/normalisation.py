"""Which normalisation of ops ranks better: ``bare`` or ``batch``?

For each, trains a SMASH network, scores random architectures, trains the same architectures from
scratch, and reports the rank correlation of score and true error::

    python benchmarks/normalisation.py FOLDER --out RUNS

FOLDER holds training images as class folders, such as the ``train`` of CIFAR-10. Of each class the
first images are taken, averaged to a small size. A part of them is set apart to measure true errors
on, which neither the score nor the training sees: no test data chooses a default.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

import smash
from smash.correlation.statistics import Bootstrap, interval, kendall_tau
from smash.data import Data
from smash.runtime.progress import on_terminal


def load(folder: Path, per_class: int, side: int) -> Data:
    """The first images of each class, averaged over squares of pixels to side×side."""
    images, labels = [], []
    for label, of_class in enumerate(sorted(folder.iterdir())):
        for path in sorted(of_class.iterdir())[:per_class]:
            with Image.open(path) as image:
                images.append(np.asarray(image.resize((side, side), Image.Resampling.BOX)))
            labels.append(label)
    return smash.load_data((np.stack(images).transpose(0, 3, 1, 2), np.array(labels)))


def agreement(scores: list[float], accuracies: list[float]) -> dict[str, float]:
    """Kendall's τ with its interval."""
    resampled = Bootstrap(accuracies).kendall_tau(scores)
    return vars(interval(kendall_tau(scores, accuracies), resampled))


def main() -> None:
    """Runs the comparison; a repeated command goes on where it was cut."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-class", type=int, default=800)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--epochs", type=int, default=12, help="of the SMASH network")
    parser.add_argument("--true-epochs", type=int, default=4, help="of each candidate")
    parser.add_argument("--candidates", type=int, default=24)
    parser.add_argument("--normalisation", nargs="+", default=["bare", "batch"])
    given = parser.parse_args()
    data = load(given.folder, given.per_class, given.side)
    for normalisation in given.normalisation:
        out = given.out / normalisation
        run = smash.train(
            data,
            out,
            epochs=given.epochs,
            preset=given.preset,
            options={"normalisation": normalisation},
            fixed_norms=False,  # as preset `small` had it when this was measured
            growing=True,
            resume=out.exists(),
            progress=on_terminal,
        )
        run.data = data
        study = smash.search(
            run, random=given.candidates, perturb=0, markov=0, progress=on_terminal
        )
        ranked = study.ranked()
        errors = []
        for rank, candidate in enumerate(ranked):
            path = run.child_path(f"{candidate.id}-e{given.true_epochs}")
            if (path / "result.json").exists():
                result = json.loads((path / "result.json").read_text())
            else:
                result = smash.retrain(
                    run, rank, epochs=given.true_epochs, progress=on_terminal
                ).result
            errors.append(result["test"]["error"])
        accuracies = [1 - error for error in errors]
        row = {
            "normalisation": normalisation,
            "smash_val_loss": run.metrics.rows()[-1]["val_loss"],
            "candidates": len(ranked),
            "kendall_tau": agreement([-one.loss for one in ranked], accuracies),
            "kendall_tau_params": agreement([float(one.params) for one in ranked], accuracies),
            "best_true_error": min(errors),
            "true_error_of_best_ranked": errors[0],
            "mean_true_error": sum(errors) / len(errors),
            "std_true_error": float(np.std(errors)),
        }
        (given.out / f"{normalisation}.json").write_text(json.dumps(row, indent=2) + "\n")
        print(json.dumps(row))


if __name__ == "__main__":
    main()
