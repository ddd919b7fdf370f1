"""Does the gradient with respect to the encoding find better changes than chance does?

From the best of the same random architectures, proposes changes by perturbation and by gradient,
as many each, and reports the best and the mean score of both, over several seeds::

    python benchmarks/gradient.py RUN

RUN is a trained run; it is copied, and its own candidates stay as they are.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path

import smash
from smash.runtime.progress import on_terminal


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--random", type=int, default=100)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    for seed in range(given.seeds):
        row: dict[str, object] = {"seed": seed}
        for strategy in ("perturbation", "gradient"):
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / "run"
                leave = shutil.ignore_patterns("study.journal*", "children", "ensemble*")
                shutil.copytree(given.run, copy, ignore=leave)
                study = smash.search(
                    smash.Run.open(copy),
                    random=given.random,
                    perturb=given.changes,
                    markov=0,
                    seed=seed,
                    strategy=strategy,  # type: ignore[arg-type]
                    progress=on_terminal,
                )
                candidates = study.candidates()
            drawn, changed = candidates[: given.random], candidates[given.random :]
            row["best_random"] = min(one.loss for one in drawn)
            row[strategy] = {
                "best": min(one.loss for one in changed),
                "median": statistics.median(one.loss for one in changed),
                "better_than_base": sum(one.loss < row["best_random"] for one in changed),
            }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
