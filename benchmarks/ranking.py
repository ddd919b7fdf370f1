"""Measures how well recipes of training rank the cells of NAS-Bench-201.

Trains a SMASH network for each recipe and seed, keeps copies, scores the cells of a table with
each copy, and reports the rank correlation with the published accuracies over minutes::

    python -m benchmarks.ranking FOLDER --table TABLE.csv --column COLUMN --out RUNS

FOLDER holds CIFAR-10 as class folders, TABLE.csv has a column ``architecture`` of cell strings.
Choose a recipe with ``--half first`` and report it with ``--half second``. ``RUNS/HALF.jsonl`` has
a line for each recipe and seed; the error, the margin and means over copies come from the same
predictions. A repeated command continues. Recipes of two processes, each of which draws its own
architecture in every step, are started by ``torchrun --nproc-per-node 2``.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

import smash
from smash.correlation.ground_truth import part_of, read_table
from smash.correlation.statistics import (
    interval,
    kendall_tau,
    regret,
    resampled_kendall_tau,
)
from smash.io.files import write_atomically
from smash.io.measurements import MeasurementLog
from smash.io.tensors import load_tensors
from smash.profiling.cost import measure_cost
from smash.run.layout import MEASUREMENTS
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.progress import on_terminal
from smash.scoring.priors import joint_score
from smash.scoring.proxy_values import measure_proxy
from smash.scoring.rank_aggregation import log_ranks
from smash.scoring.scorer import Scorer

Row = dict[str, Any]

SIZE: Row = {"channels": 16, "cells": 1}
VAL_FRACTION = 0.1
PRIOR = "synflow"  # the same for each copy, since training changes the score alone
RECIPES: dict[str, Row] = {
    "none": {},
    "low-rank": {"hypernet": "low-rank"},
    "uniform": {"options": {**SIZE, "weighted": False}},
    "learned norms": {"fixed_norms": False},
    "rate 0.05": {"learning_rate": 0.05},
    "rate 0.2": {"learning_rate": 0.2},
    "batch 96": {"batch_size": 96},
    "cosine": {"schedule": "cosine"},
    "8 pixels": {"proxy_size": 8},
    "32 pixels": {"proxy_size": 32},
    "3 cells a stage": {"options": {**SIZE, "cells": 3}},
    "augmented": {"augment": True},
    "8 channels": {"options": {**SIZE, "channels": 8}},
    "connected": {"options": {**SIZE, "connected": True}},
    "distinct": {"options": {**SIZE, "distinct": True}},
    "weight decay 0.002": {"weight_decay": 2e-3},
    "third of the images": {"val_fraction": 0.7},
    "two architectures a step": {"processes": 2, "batch_size": 16},
}
"""Settings of `smash.train` by recipe. A larger ``val_fraction`` leaves fewer images to learn from,
in as many steps."""

WORLD, RANK = (
    int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", 1), ("RANK", 0))
)
"""Number of processes that train together, and the rank of this one, from torchrun."""


def main() -> None:
    """Runs the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--table", required=True)
    parser.add_argument("--column", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", choices=["first", "second"], default="first")
    parser.add_argument("--limit", type=int, help="use this many cells of that half")
    fit = [name for name in RECIPES if processes_of(name) == WORLD]
    parser.add_argument("--recipes", nargs="+", default=fit, choices=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=12, help="with batches of 32")
    parser.add_argument("--copy-every", type=int, default=2, help="epochs")
    parser.add_argument("--examples", type=int, default=1000)
    options = parser.parse_args()
    for name in options.recipes:
        if processes_of(name) != WORLD:
            parser.error(f"{name!r} needs torchrun --nproc-per-node {processes_of(name)}")
    if options.copy_every > options.epochs:
        parser.error(f"no copy is kept every {options.copy_every} of {options.epochs} epochs")
    for seed in options.seeds:
        for name in options.recipes:
            study(name, seed, options)


def processes_of(name: str) -> int:
    """Number of processes that a recipe trains in."""
    count: int = RECIPES[name].get("processes", 1)
    return count


def study(name: str, seed: int, options: argparse.Namespace) -> None:
    """Trains and scores one recipe with one seed, unless its line exists."""
    lines = options.out / f"{options.half}.jsonl"
    done = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    asked = {"recipe": name, "seed": seed, "epochs": options.epochs}
    asked |= {"limit": options.limit, "examples": options.examples}
    if any(asked.items() <= row.items() for row in done):
        return
    folder = options.out / f"{name.replace(' ', '-')}-e{options.epochs}-s{seed}"
    recipe = {"options": SIZE, "hypernet": "none", **RECIPES[name]}
    side = max(16, recipe.get("proxy_size", 16))
    val_fraction = recipe.pop("val_fraction", VAL_FRACTION)
    recipe.pop("processes", None)  # torchrun started them
    passes = (1 - VAL_FRACTION) / (1 - val_fraction)  # fewer images take more passes
    run = smash.train(
        smash.load_data(options.data, image_size=side, val_fraction=val_fraction),
        folder,
        space="nas-bench-201",
        epochs=round(options.epochs * passes),
        seed=seed,
        keep_every=round(options.copy_every * passes),
        validate_every=round(options.epochs * passes),
        resume=folder.exists(),
        progress=on_terminal,
        **recipe,
    )
    if RANK:
        return  # the first process scores for all
    row = asked | judge(run, options)
    options.out.mkdir(parents=True, exist_ok=True)
    with lines.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def judge(run: Run, options: argparse.Namespace) -> Row:
    """Compares the scores of each copy of a network with the accuracies of the cells."""
    table = read_table(options.table, options.column, run.space)
    known = part_of(table, run.space, options.half, options.limit)
    real = np.asarray([cell.accuracy for cell in known])
    costs = [measure_cost(run.space, cell.architecture, run.data.task) for cell in known]
    params = np.asarray([float(cost.params) for cost in costs])
    seconds = {row["epoch"]: row["seconds"] for row in run.metrics.rows()}
    scores = {epoch: scored(run, epoch, known, options) for epoch in copies(run)}
    pairs = [(cell.id, cell.architecture) for cell in known]
    numbers = measure_proxy(
        run, PRIOR, pairs, MeasurementLog(run.path / MEASUREMENTS), choose_device("auto")
    )
    curve = []
    losses: list[np.ndarray[Any, Any]] = []
    for epoch, found in sorted(scores.items()):
        losses.append(-found[:, 0])
        recent = np.mean(losses[len(losses) // 2 :], axis=0)  # of the second half of training
        curve.append(
            {
                "epoch": epoch,
                "minutes": round(seconds[epoch] / 60, 2),
                "loss": tau(losses[-1], real),
                "error": tau(-found[:, 1], real),
                "margin": tau(found[:, 2], real),
                "mean loss of copies": tau(recent, real),
                f"with {PRIOR}": tau(-joint_score(PRIOR, -recent, numbers), real),
            }
        )
    best = real >= np.quantile(real, 0.9)
    both = -joint_score(PRIOR, -recent, numbers)
    taus, of_params, of_both = (
        resampled_kendall_tau(each, real) for each in (recent, params, both)
    )
    return {
        "half": options.half,
        "n": len(known),
        "curve": curve,
        "tau": dict(interval(kendall_tau(recent, real), taus)),
        "params": dict(interval(kendall_tau(params, real), of_params)),
        "ahead of params": dict(
            interval(kendall_tau(recent, real) - kendall_tau(params, real), taus - of_params)
        ),
        f"with {PRIOR}": dict(interval(kendall_tau(both, real), of_both)),
        "with params": tau(log_ranks([recent, params]), real),
        "best tenth": tau(recent[best], real[best]),
        "regret of 10": regret(recent, real, 10),
    }


def copies(run: Run) -> list[int]:
    """Lists the epochs after which a copy was kept."""
    return sorted(int(path.stem.split("-")[1]) for path in (run.path / "copies").iterdir())


def scored(run: Run, epoch: int, known: Any, options: argparse.Namespace) -> Any:
    """Computes loss, error and margin of each cell (cells×3), or reads them from a file."""
    limit = len(known)
    kept = run.path / f"scores-{options.half}-{limit}-{options.examples}-{epoch}.json"
    if not kept.exists():
        network = run.new_network()
        network.load_state_dict(load_tensors(run.path / "copies" / f"epoch-{epoch}.safetensors")[0])
        scorer = Scorer(network, run.search_data, examples=options.examples)
        rows = []
        for cell in known:
            logits = scorer.predict(cell.architecture)
            score = scorer.score(logits)
            odds = logits.softmax(1)
            true = odds.gather(1, scorer.labels[:, None])[:, 0]
            odds.scatter_(1, scorer.labels[:, None], 0.0)
            margin = (true - odds.max(1).values).mean().item()
            rows.append([score.loss, score.error, margin])
        write_atomically(kept, json.dumps(rows).encode())
    return np.asarray(json.loads(kept.read_text()))


def tau(values: Any, real: Any) -> float:
    """Computes Kendall's τ, rounded to four digits."""
    return round(kendall_tau(values, real), 4)


if __name__ == "__main__":
    main()
