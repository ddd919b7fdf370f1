"""The whole loop on signals: the set ``Trace`` that the package tslearn ships.

100 signals to learn from and 100 to test on, of 275 samples and four classes (Roverso 2000)::

    pip install tslearn
    python benchmarks/signals.py --out runs/trace
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from tslearn.datasets import CachedDatasets

import smash
from smash.runtime.progress import on_terminal


def main() -> None:
    """Trains, searches and retrains with one-dimensional convolutions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--epochs", type=int, default=60, help="of the SMASH network")
    parser.add_argument("--retrain-epochs", type=int, default=60)
    given = parser.parse_args()
    began = time.monotonic()
    data, labels, test_data, test_labels = CachedDatasets().load_dataset("Trace")
    arrays = {
        "data": data.astype(np.float32),
        "labels": labels.astype(int) - 1,
        "test_data": test_data.astype(np.float32),
        "test_labels": test_labels.astype(int) - 1,
    }
    found = smash.load_data(arrays, dims=1, channels="last", val_fraction=0.3)
    run = smash.train(
        found, given.out, epochs=given.epochs, preset="small", batch_size=10, progress=on_terminal
    )
    study = smash.search(run, random=100, perturb=20, markov=20, progress=on_terminal)
    child = smash.retrain(
        run, epochs=given.retrain_epochs, batch_size=10, learning_rate=0.05, progress=on_terminal
    )
    test = child.result["test"]
    print(
        json.dumps(
            {
                "candidates": len(study.candidates()),
                "params": child.about["params"],
                "test_accuracy": 1 - test["error"],
                "test_examples": test["examples"],
                "seconds": round(time.monotonic() - began),
            }
        )
    )


if __name__ == "__main__":
    main()
