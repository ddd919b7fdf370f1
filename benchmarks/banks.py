"""Measures how far the score ranks memory banks, beside parameters and the noise of training.

Trains a SMASH network for each hypernetwork, for the same minutes, scores random candidates with
the first of them, trains a stratified sample from scratch, and prints the rank correlation of each
ranking with the accuracies::

    python -m benchmarks.banks FOLDER --out RUNS

With ``--table`` no candidate is trained: accuracies are those of a table from
``benchmarks.trainings``, such as ``benchmarks/results/banks.csv``, and ``--options`` must be those
of its space.

The *noise ceiling* is the rank correlation of two trainings of the same candidates. Where all were
trained twice, rankings are compared with the mean of both. Candidates are evaluated on the audit
split, so no test example is used. A repeated command continues; the last lines are the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import smash
from smash.config import ChildSettings, SpaceSettings
from smash.correlation.ground_truth import (
    GroundTruth,
    read_table,
    stratified_sample,
    train_sample,
)
from smash.correlation.statistics import interval, kendall_tau, resampled_kendall_tau
from smash.io.measurements import MeasurementLog
from smash.run.layout import MEASUREMENTS
from smash.runtime.device import choose_device
from smash.runtime.progress import on_terminal
from smash.scoring.priors import joint_score, proxy_score
from smash.scoring.proxy_names import PROXY_NAMES
from smash.scoring.proxy_values import measure_proxy
from smash.scoring.rank_aggregation import Floats
from smash.scoring.scorer import Scorer
from smash.spaces import make_space
from smash.study.study import Study

OPTIONS = {"variable_nonlinearity": True, "bank_width": 4, "max_width": 16, "max_groups": 4}
"""Narrow networks with varied ops, of which 60 can be trained twice."""


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="accuracies of candidates")
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--options", type=json.loads, default=OPTIONS, help="of preset small, JSON")
    parser.add_argument("--recipe", type=json.loads, default={}, help="of smash.train, JSON")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of a SMASH network, unless RECIPE has epochs"
    )
    parser.add_argument("--hypernets", nargs="+", default=["convolutional", "none", "low-rank"])
    parser.add_argument("--candidates", type=int, default=240)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=1, help="of each candidate")
    parser.add_argument("--again", type=int, default=30, help="candidates that are trained twice")
    options = parser.parse_args()
    data = smash.load_data(options.data, image_size=options.image_size)
    if options.table:  # read first, because it may be of another space
        known, again = tabled(options)
    runs = {hypernet: network(data, hypernet, options) for hypernet in options.hypernets}
    first = runs[options.hypernets[0]]
    if not options.table:
        known, again = trained(first, options)
    scores = {name: scored(run, known, options.examples) for name, run in runs.items()}
    print_table(known, again, scores, proxies(first, known))


def network(data: smash.Data, hypernet: str, options: argparse.Namespace) -> smash.Run:
    """Trains a SMASH network, or opens the one that exists."""
    folder = options.out / hypernet
    length = {} if "epochs" in options.recipe else {"minutes": options.minutes}
    return smash.train(
        data,
        folder,
        space="memory-bank",
        preset="small",
        options=options.options,
        hypernet=hypernet,
        **length,
        **options.recipe,
        resume=folder.exists(),
        progress=on_terminal,
    )


def trained(
    run: smash.Run, options: argparse.Namespace
) -> tuple[list[GroundTruth], list[GroundTruth]]:
    """Trains a sample that is stratified by score, and a part of it twice."""
    counts = {"random": options.candidates, "perturb": 0, "markov": 0, "full": True}
    smash.search(run, examples=options.examples, progress=on_terminal, **counts)
    sample = stratified_sample(Study(run.study_path).candidates(), options.sample)
    known, again = (
        train_sample(
            run, part, ChildSettings(epochs=options.epochs, seed=seed), progress=on_terminal
        )
        for seed, part in enumerate((sample, sample[:: max(1, len(sample) // options.again)]))
    )
    return known, again


def tabled(options: argparse.Namespace) -> tuple[list[GroundTruth], list[GroundTruth]]:
    """Reads the candidates of a table, and those with a second accuracy."""
    asked = SpaceSettings(name="memory-bank", preset="small", options=options.options)
    known = read_table(options.table, "accuracy", make_space(asked, dims=2))
    with options.table.open(newline="", encoding="utf-8") as file:
        second = [row["again"] for row in csv.DictReader(file)]
    again = [
        replace(one, accuracy=float(other))
        for one, other in zip(known, second, strict=True)
        if other
    ]
    return known, again


def scored(run: smash.Run, known: list[GroundTruth], examples: int) -> Floats:
    """Scores candidates; lower is better."""
    place = choose_device("auto")
    scorer = Scorer(
        run.network(place), run.search_data, examples=examples, snapshots=run.snapshots(place)
    )
    return np.asarray([scorer(one.architecture).loss for one in known])


def proxies(run: smash.Run, known: list[GroundTruth]) -> dict[str, Any]:
    """Measures candidates with proxies and costs."""
    pairs = [(one.id, one.architecture) for one in known]
    measurements = MeasurementLog(run.path / MEASUREMENTS)
    place = choose_device("auto")
    return {
        name: measure_proxy(run, name, pairs, measurements, place, on_terminal)
        for name in PROXY_NAMES
    }


def print_table(
    known: Sequence[GroundTruth],
    again: Sequence[GroundTruth],
    scores: Mapping[str, Floats],
    numbers: Mapping[str, Any],
) -> None:
    """Prints the rank correlations."""
    first = {one.id: one.accuracy for one in known}
    pairs = np.asarray([(first[one.id], one.accuracy) for one in again])
    ceiling, apart = kendall_tau(*pairs.T), pairs[:, 0] - pairs[:, 1]
    real = np.asarray(list(first.values()))
    if len(again) == len(known):
        real = pairs.mean(axis=1)
    print(f"{len(real)} candidates, accuracy {real.mean():.1%}, deviation {real.std():.1%}")
    print(
        f"noise ceiling: τ {ceiling:.3f} between two trainings of {len(again)}; one training "
        f"deviates by {math.sqrt((apart**2).mean() / 2):.1%}"
    )
    rankings = {name: proxy_score(name, each) for name, each in numbers.items()}
    for hypernet, each in scores.items():
        rankings[f"{hypernet}: score"] = -each
        for name, of_proxy in numbers.items():
            rankings[f"{hypernet}: score and {name}"] = -joint_score(name, each, of_proxy)
    of_params = resampled_kendall_tau(rankings["params"], real)
    params = kendall_tau(rankings["params"], real)
    print("| ranked by | τ | τ − τ of the parameters |")
    print("| --- | --- | --- |")
    for name, values in rankings.items():
        taus, tau = resampled_kendall_tau(values, real), kendall_tau(values, real)
        alike, ahead = interval(tau, taus), interval(tau - params, taus - of_params)
        cells = [f"{one.value:.3f} ({one.low:.3f} … {one.high:.3f})" for one in (alike, ahead)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
