"""Measures how rankings of a table's cells agree with it, and what who trains the first few loses.

    python -m benchmarks.cells RUN… --table TABLE.csv --column COLUMN --half second

Each RUN is trained, with a seed of its own. For the score, the prior, each of its proxies and the
parameter count it computes Kendall's τ over all architectures of that half, and the regret: by how
much the best of the first 1, 5 and 10 is worse than the best of all. The regret of one table is
luck, so it is the mean over random samples of 300 of its architectures, each ranked by itself. The
result is ``results/cells.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import smash
from smash.correlation.ground_truth import part_of, read_table
from smash.correlation.statistics import (
    REGRET_AMONG,
    best_tenth,
    interval,
    kendall_tau,
    regret,
    resampled_kendall_tau,
    tau_at_equal_size,
)
from smash.io.measurements import MeasurementLog
from smash.run.layout import MEASUREMENTS
from smash.runtime.device import choose_device
from smash.runtime.rng import generator
from smash.scoring.priors import adjusted_scores, choose_prior, joint_score, proxy_score
from smash.scoring.proxy_names import JOIN, SMOOTHING
from smash.scoring.proxy_values import measure_proxy
from smash.scoring.rank_aggregation import Floats

RESULT = Path(__file__).parent / "results" / "cells.json"

SAMPLES, SAMPLE = 1000, 300

Ranking = Callable[[Any], Floats]
"""Ranks the architectures of some rows, higher is better."""


def main() -> None:
    """Prints and stores a row for each run and ranking."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--column", required=True)
    parser.add_argument("--half", choices=["first", "second"], default="second")
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    rows = [row for path in options.runs for row in measured(smash.Run.open(path), options)]
    options.out.write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        print(json.dumps(row))


def measured(run: smash.Run, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measures the rankings of one run."""
    prior = choose_prior(None, run.space.name) or "params"
    trust = smash.correlate(
        run,
        table=options.table,
        column=options.column,
        half=options.half,
        examples=options.examples,
        prior=prior,
    )
    table = read_table(options.table, options.column, run.space)
    known = part_of(table, run.space, options.half, None)
    truth = np.array([each.accuracy for each in known])
    scores = np.array([point.score for point in trust.points])

    log, device = MeasurementLog(run.path / MEASUREMENTS), choose_device("auto")
    pairs = [(each.id, each.architecture) for each in known]

    def by(name: str) -> Ranking:
        values = measure_proxy(run, name, pairs, log, device)
        return lambda rows: proxy_score(name, [values[row] for row in rows])

    def by_score(name: str) -> Ranking:
        return lambda rows: -adjusted_scores(name, scores[rows], [pairs[row][1] for row in rows])

    def by_both(name: str) -> Ranking:
        values, adjusted = measure_proxy(run, name, pairs, log, device), by_score(name)
        return lambda rows: -joint_score(name, -adjusted(rows), [values[row] for row in rows])

    parts = dict.fromkeys([*prior.split(JOIN), "params"])
    rankings = {
        "score": lambda rows: -scores[rows],
        **{f"score and {name}": by_score(name) for name in parts if name in SMOOTHING},
        f"score and {prior}": by_both(prior),
        **{name: by(name) for name in parts if name not in SMOOTHING},
    }
    params = by("params")(range(len(truth)))
    return [
        {"seed": run.settings.seed, "ranking": name, **judged(ranking, truth, params)}
        for name, ranking in rankings.items()
    ]


def judged(ranking: Ranking, truth: Floats, params: Floats) -> dict[str, Any]:
    """Compares a ranking with the truth."""
    rng = generator(0, "samples of a table")
    samples = [rng.choice(len(truth), SAMPLE, replace=False) for _ in range(SAMPLES)]
    lost = [
        [regret(ranking(rows), truth[rows], among) for among in REGRET_AMONG] for rows in samples
    ]
    found, best = ranking(np.arange(len(truth))), best_tenth(truth)
    return {
        "n": len(truth),
        "tau": dict(interval(kendall_tau(found, truth), resampled_kendall_tau(found, truth))),
        "equal_size_tau": tau_at_equal_size(found, truth, params),
        "top_tenth_tau": kendall_tau(found[best], truth[best]),
        "regret": dict(zip(REGRET_AMONG, np.mean(lost, axis=0).tolist(), strict=True)),
    }


if __name__ == "__main__":
    main()
