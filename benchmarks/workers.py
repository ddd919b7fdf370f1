"""Measures how much sooner workers train several children than one process trains them in turn.

    python -m benchmarks.workers RUN --epochs 10

Both sides have all threads of this machine, and take turns. RUN is copied, and not altered.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from smash.io.files import write_json
from smash.run.run import Run, environment
from smash.study.study import Study

_RESULT = Path(__file__).parent / "results" / "workers.json"
_ROUNDS = 3


def seconds(run: Path, ranks: str, epochs: int, workers: int) -> float:
    """Trains candidates of a copy of a run; returns the duration of the command."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(run, copy, ignore=shutil.ignore_patterns("children"))
        line = f"retrain {copy} --ranks {ranks} --epochs {epochs} --workers {workers} --device cpu"
        begun = time.monotonic()
        subprocess.run(  # noqa: S603, words of this file
            [sys.executable, "-m", "smash", *line.split()],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        )
        return time.monotonic() - begun


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path)
    parser.add_argument("--ranks", default="0-3")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=_RESULT)
    options = parser.parse_args()
    threads = torch.get_num_threads()
    sides: dict[int, list[float]] = {1: [], threads: []}
    for _ in range(_ROUNDS):
        for workers, taken in sides.items():
            taken.append(seconds(options.run, options.ranks, options.epochs, workers))
    run = Run.open(options.run)
    ranked = Study(run.study_path).ranked()
    medians = {workers: round(statistics.median(taken), 1) for workers, taken in sides.items()}
    row = {
        "data": Path(run.settings.data.source).name,
        "macs": ranked[0].macs,
        "ranks": options.ranks,
        "epochs": options.epochs,
        "workers": threads,
        "seconds": medians,
        "ratio": round(medians[threads] / medians[1], 2),
    }
    print(row)
    write_json(options.out, {"environment": environment(), "row": row})


if __name__ == "__main__":
    main()
