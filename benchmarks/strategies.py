"""At equal numbers of scorings: evolution and NSGA-II against random search.

Trains a small SMASH network for each space and seed, and searches it with each strategy::

    python benchmarks/strategies.py digits --out RUNS

All candidates are scored in full. What is compared is the lowest validation loss, and the
hypervolume of loss and the logarithm of parameters, 0…1: how much is dominated of a box that holds
the front of all searches of a network together, and is a tenth wider than that. A repeated command
goes on where it was cut; each network adds a line to ``RUNS/strategies.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from subsets import load

import smash
from smash.data import Data
from smash.runtime.progress import on_terminal
from smash.searching import pareto
from smash.study.study import Candidate

SPACES: dict[str, dict[str, Any]] = {
    "memory-bank": {"preset": "tiny"},
    "nas-bench-201": {
        "space": "nas-bench-201",
        "options": {"channels": 8, "cells": 1},
        "hypernet": "none",
    },
}
_EDGE = 1.1


def searches(scorings: int) -> dict[str, dict[str, Any]]:
    """What each search is asked for; all score as often."""
    quarter = scorings // 4
    evolve = scorings - quarter
    return {
        "random": {"random": scorings, "perturb": 0, "markov": 0},
        "published": {
            "random": scorings - 2 * quarter,
            "perturb": quarter,
            "markov": quarter,
        },
        "evolution": {"random": quarter, "evolve": evolve, "strategy": "evolution"},
        "nsga2": {"random": quarter, "evolve": evolve, "objectives": ("loss", "params")},
    }


def searched(run: smash.Run, data: Data, out: Path, asked: dict[str, Any]) -> list[Candidate]:
    """The candidates of one search, in a copy of the run."""
    if not out.exists():
        shutil.copytree(run.path, out, ignore=shutil.ignore_patterns("study.journal*", "ensemble*"))
    copy = smash.Run.open(out)
    copy.data = data
    seed = run.settings.seed
    study = smash.search(copy, seed=seed, full=True, progress=on_terminal, **asked)
    return study.candidates()


def points(candidates: list[Candidate]) -> np.ndarray:
    """Loss and the logarithm of the parameters, candidates×2."""
    return np.array([(one.loss, np.log(one.params)) for one in candidates])


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="digits, or a folder with train and test")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--space", nargs="+", default=list(SPACES), choices=SPACES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15, help="of the SMASH network")
    parser.add_argument("--scorings", type=int, default=200)
    parser.add_argument("--per-class", type=int, default=400)
    parser.add_argument("--side", type=int, default=16)
    given = parser.parse_args()
    data = load(given.data, given.per_class, given.side)
    for space in given.space:
        for seed in given.seeds:
            out = given.out / f"{space}-s{seed}"
            run = smash.train(
                data,
                out,
                epochs=given.epochs,
                seed=seed,
                resume=out.exists(),
                progress=on_terminal,
                **SPACES[space],
            )
            found = {
                name: searched(run, data, given.out / f"{space}-s{seed}-{name}", asked)
                for name, asked in searches(given.scorings).items()
            }
            seen = np.concatenate([points(candidates) for candidates in found.values()])
            front = seen[pareto.fronts(seen) == 0]
            least, most = front.min(0), front.max(0)
            row: dict[str, Any] = {"space": space, "seed": seed, "scorings": given.scorings}
            for name, candidates in found.items():
                inside = (points(candidates) - least) / (most - least)
                row[name] = {
                    "best_loss": min(one.loss for one in candidates),
                    "best_error": min(one.error for one in candidates),
                    "hypervolume": pareto.hypervolume(inside, (_EDGE, _EDGE)) / _EDGE**2,
                }
            with (given.out / "strategies.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
