"""Ranks the networks of NAS-Bench-Macro, a search space of one function, by a network of minutes.

    python -m benchmarks.macro FOLDER --table TABLE.csv --out RUNS

FOLDER holds CIFAR-10 as class folders; TABLE.csv has the columns ``architecture``, strings of eight
digits, ``cifar10_test_accuracy``, ``run_1`` … ``run_3``, ``params`` and ``flops``. For each seed it
trains a SMASH network by ``smash train --image-size 16 --batch-size 128 --no-augment --minutes M``,
because augmentation costs so short a training more than it brings, and compares its ranking with
the accuracies, as ``smash correlate`` does. Parameters and MACs of each network must be the
published ones. Choose settings with ``--half first``, and report them with ``--half second``. The
result is ``results/macro.json``; a repeated command continues.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import smash
from benchmarks import nas_bench_macro
from smash.correlation.statistics import kendall_tau
from smash.profiling.cost import measure_cost
from smash.run.trust import RankCorrelation
from smash.runtime.progress import on_terminal

SPACE = f"{nas_bench_macro.__file__}:network"
RESULT = Path(__file__).parent / "results" / "macro.json"

_COLUMN = "cifar10_test_accuracy"
_PRIORS = ("macs", "naswot", "main-effects", "main-effects+macs", "main-effects+naswot")
_SIDE = 32  # pixels of the published networks' images


def main() -> None:
    """Prints and stores a row for each seed and ranking, and the ceiling of all rankings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data")
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", choices=["first", "second"], default="second")
    parser.add_argument("--limit", type=int, default=200, help="networks of that half")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()

    with options.table.open(newline="") as file:
        published = list(csv.DictReader(file))
    check_counts(published)
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "table.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["architecture", _COLUMN])
        rows.writerows([json.dumps(choices_of(row)), row[_COLUMN]] for row in published)

    found = [row for seed in options.seeds for row in ranked(seed, table, options)]
    result = {"minutes": options.minutes, "ceiling": ceiling_of(published), "rows": found}
    options.result.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def choices_of(row: dict[str, str]) -> dict[str, str]:
    """Reads an architecture of the published table."""
    kinds = tuple(nas_bench_macro.BLOCKS)
    return {f"layer {layer}": kinds[int(digit)] for layer, digit in enumerate(row["architecture"])}


def check_counts(published: list[dict[str, str]]) -> None:
    """Compares parameters and MACs with the published ones.

    Raises:
        ValueError: One differs.
    """
    space = smash.space(nas_bench_macro.network, name="nas-bench-macro")
    task = smash.Task(channels=3, size=(_SIDE, _SIDE), classes=10)
    for row in published:
        cost = measure_cost(space, space.from_json(choices_of(row)), task)
        if (cost.params, cost.macs) != (int(row["params"]), int(row["flops"])):
            raise ValueError(f"{row['architecture']}: {cost} differs from the published {row}")


def ceiling_of(published: list[dict[str, str]]) -> float:
    """Computes how well one of the three trainings of a network ranks like another."""
    runs = [np.array([float(row[f"run_{run}"]) for row in published]) for run in (1, 2, 3)]
    return float(np.mean([kendall_tau(*pair) for pair in itertools.combinations(runs, 2)]))


def ranked(seed: int, table: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Trains a SMASH network, or continues, and compares its rankings with the accuracies."""
    folder = options.out / f"seed-{seed}"
    run = smash.train(
        smash.load_data(options.data, image_size=16),
        folder,
        space=SPACE,
        batch_size=128,
        augment=False,
        minutes=options.minutes,
        seed=seed,
        resume=folder.exists(),
        progress=on_terminal,
    )
    rankings: dict[str, RankCorrelation] = {}
    for prior in _PRIORS:
        trust = smash.correlate(
            run,
            table=table,
            column=_COLUMN,
            half=options.half,
            limit=options.limit,
            examples=500,
            prior=prior,
            progress=on_terminal,
        )
        rankings |= {"score": trust, **trust.baselines}
        rankings |= {f"score and {name}": each for name, each in trust.together.items()}
    return [
        {"seed": seed, "n": trust.n, "ranking": name, **each.model_dump(include=_KEPT)}
        for name, each in rankings.items()
        if name != "random"
    ]


_KEPT = {"kendall_tau", "tau_difference", "equal_size_tau", "top_tenth_tau", "regret"}

if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
