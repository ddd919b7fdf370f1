"""How much faster is a race than full scoring, and what does it lose?

Trains a SMASH network, or takes the one that is there, scores the same random candidates both ways,
on all of the validation examples, and tells for each seed of the proposals::

    python benchmarks/racing.py FOLDER --out RUNS --minutes 2 --random 1000

- ``speed``: candidates a second of processor time, racing ÷ full; ``wall`` the same of the clock;
- ``examples``: validation and calibration examples a candidate in the race, to compare with those
  of full scoring, ``all``: what the speed would be if nothing else took time;
- ``lost``: the error of the best among the top K of the race, minus that of the best among the top
  K of full scoring, in points, both on all examples; ``lost_value`` is the same of what ranks;
- ``recall``: how many of the top K of full scoring are the top K of the race.

A finished seed adds a line to ``RUNS/racing.jsonl``, and is not measured again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import smash
from smash.runtime.progress import on_terminal
from smash.scoring.scorer import CALIBRATION_EXAMPLES
from smash.study.study import Candidate, Study


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--val-fraction", type=float, default=0.1)
    parser.add_argument("--space", default="memory-bank")
    parser.add_argument("--preset")
    parser.add_argument("--random", type=int, default=1000)
    parser.add_argument("--keep", type=int, default=10)
    parser.add_argument("--rank-by", default="loss")
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    data = smash.load_data(given.data, image_size=given.image_size, val_fraction=given.val_fraction)
    trained = given.out / "network"
    run = smash.train(
        None if trained.exists() else data,
        trained,
        space=given.space,
        preset=given.preset,
        minutes=given.minutes,
        device=given.device,
        resume=trained.exists(),
        progress=on_terminal,
    )
    results = given.out / "racing.jsonl"
    lines = results.read_text().splitlines() if results.exists() else []
    counts = {"random": given.random, "keep": given.keep, "rank_by": given.rank_by}
    for seed in given.seeds:
        asked = {"seed": seed, **counts, "examples": min(given.examples, len(data.val))}
        if any(asked.items() <= json.loads(line).items() for line in lines):
            continue
        found = {
            full: _searched(run, given.out / "search", given.device, full=full, **asked)
            for full in (False, True)
        }
        row = {**asked, **_compared(found, given.keep)}
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def _searched(
    run: smash.Run, path: Path, device: str, **settings: Any
) -> tuple[list[Candidate], float, float]:
    """Searches in a copy of a run: the candidates, best first, and the seconds of both clocks."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(run.path, path, ignore=shutil.ignore_patterns("study*", "ensemble*"))
    copy = smash.Run.open(path)
    copy.data = run.data
    began, at_work = time.perf_counter(), time.process_time()
    smash.search(copy, perturb=0, markov=0, device=device, progress=on_terminal, **settings)
    seconds = time.perf_counter() - began, time.process_time() - at_work
    ranked = Study(copy.study_path).ranked()
    shutil.rmtree(path)
    return ranked, *seconds


def _compared(
    found: dict[bool, tuple[list[Candidate], float, float]], keep: int
) -> dict[str, float]:
    raced, race_wall, race_work = found[False]
    full, full_wall, full_work = found[True]
    truth = {one.id: one for one in full}
    top = [truth[one.id] for one in raced[:keep] if not one.partial]
    of_all = full[0].examples + CALIBRATION_EXAMPLES
    seen = sum(one.examples + CALIBRATION_EXAMPLES for one in raced) / len(raced)
    best = {one.id for one in full[:keep]}
    return {
        "candidates": len(full),
        "minutes_full": full_wall / 60,
        "minutes_race": race_wall / 60,
        "speed": full_work / race_work,
        "wall": full_wall / race_wall,
        "all": of_all,
        "examples": seen,
        "speed_by_examples": of_all / seen,
        "full_scores": sum(not one.partial for one in raced),
        "lost": 100 * (min(one.error for one in top) - min(one.error for one in full[:keep])),
        "lost_value": top[0].value - full[0].value,
        "recall": sum(one.id in best for one in top) / keep,
    }


if __name__ == "__main__":
    main()
