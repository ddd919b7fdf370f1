"""How well does a SMASH network rank the cells of NAS-Bench-201? By hypernetwork and seed.

Trains networks on CIFAR-10 at a small size and compares their scores with the published
accuracies of a table; a repeated command goes on where it was cut::

    python benchmarks/ranking.py FOLDER --table TABLE.csv --column COLUMN --out RUNS

FOLDER holds CIFAR-10 as class folders, TABLE.csv has a column ``architecture`` of cell strings.
Choose a recipe with ``--half first``, and report it with ``--half second``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import smash
from smash.progress import on_terminal


def main() -> None:
    """Runs the comparison; each finished network adds a line to ``RUNS/ranking.jsonl``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--table", required=True)
    parser.add_argument("--column", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", default="first")
    parser.add_argument("--hypernet", nargs="+", default=["none", "lowrank"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=96)
    parser.add_argument("--examples", type=int, default=1000)
    given = parser.parse_args()
    data = smash.load_data(given.data, image_size=given.image_size)
    given.out.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        for hypernet in given.hypernet:
            out = given.out / f"{hypernet}-e{given.epochs}-s{seed}"
            run = smash.train(
                data,
                out,
                space="nas-bench-201",
                options={"channels": given.channels, "cells": 1},
                hypernet=hypernet,
                epochs=given.epochs,
                batch_size=given.batch_size,
                seed=seed,
                resume=out.exists(),
                progress=on_terminal,
            )
            found = smash.correlate(
                run,
                table=given.table,
                column=given.column,
                half=given.half,
                examples=given.examples,
                progress=on_terminal,
            ).as_json()
            row = {
                "hypernet": hypernet,
                "seed": seed,
                "epochs": given.epochs,
                "seconds": run.metrics.rows()[-1]["seconds"],
                "half": given.half,
                "n": found["n"],
                "kendall_tau": found["kendall_tau"],
                "top_tenth_tau": found["top_tenth_tau"],
                "regret": found["regret"],
                "params_tau": found["baselines"]["params"]["kendall_tau"],
                "tau_difference": found["baselines"]["params"]["tau_difference"],
            }
            with (given.out / "ranking.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
