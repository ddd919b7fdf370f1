"""Measures which validation statistic finals had better choose by.

    python -m benchmarks.finals RUN…

Each RUN has held finals, as by ``smash compare``. The finalists of its first rung are evaluated on
the test split, too. For each statistic of the validation split the result has Kendall's τ with the
test error, and by how much the test error of the chosen one differs from the mean of all.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from scipy.stats import kendalltau

from smash.data import shrink
from smash.evaluation import Evaluation, evaluate
from smash.io.files import write_json
from smash.run.child import Child
from smash.run.layout import BRIEF, CHILDREN, FINALS
from smash.run.run import Run, environment
from smash.training.finals import Finals, Rung

_RESULT = Path(__file__).parent / "results" / "finals.json"
_STATISTICS = ("error", "loss", "expected_error")


def evaluated(run: Run, rung: Rung) -> list[tuple[Evaluation, Evaluation]]:
    """Evaluates the finalists of a brief rung on the validation and the test split."""
    data = run.data
    data = shrink(data, rung.side) if rung.side < max(data.task.size) else data
    trained = {}
    for folder in (run.path / CHILDREN).glob(f"*-{BRIEF}"):
        child = Child.read(folder, run)
        if child.record.settings.epochs == rung.epochs and "fold" not in folder.name:
            trained[child.record.id] = child.model(torch.device("cpu"))
    models = [trained[finalist.id] for finalist in rung.finalists]
    return [
        (evaluate(model, data.val, data, "val"), evaluate(model, data.test, data, "test"))
        for model in models
    ]


def row(path: Path) -> dict[str, Any]:
    """Compares the statistics on the finalists of a run."""
    run = Run.open(path)
    rung = Finals.read(path / FINALS).rungs[0]
    found = evaluated(run, rung)
    errors = [test.error for _, test in found]
    values: dict[str, Any] = {
        "data": Path(run.settings.data.source).name,
        "seed": run.settings.seed,
        "finalists": len(found),
        "epochs": rung.epochs,
        "val_examples": found[0][0].examples,
        "test_examples": found[0][1].examples,
        "mean_test_error": round(fmean(errors), 5),
        "best_test_error": round(min(errors), 5),
    }
    for name in _STATISTICS:
        judged = [getattr(val, name) for val, _ in found]
        # Of several that are equal, each might be chosen.
        chosen = [
            error for error, judge in zip(errors, judged, strict=True) if judge == min(judged)
        ]
        values[name] = {
            "tau": round(float(kendalltau(judged, errors).statistic), 3),
            "chosen_minus_mean": round(fmean(chosen) - fmean(errors), 5),
        }
    return values


def main() -> None:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=_RESULT)
    options = parser.parse_args()
    rows = [row(path) for path in options.runs]
    for each in rows:
        print(each)
    for name in _STATISTICS:
        taus, gains = ([one[name][key] for one in rows] for key in ("tau", "chosen_minus_mean"))
        print(f"{name}: τ {fmean(taus):.2f}, chosen minus mean {100 * fmean(gains):+.2f} points")
    write_json(options.out, {"environment": environment(), "rows": rows})


if __name__ == "__main__":
    main()
