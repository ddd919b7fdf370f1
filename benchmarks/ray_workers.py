"""How many candidates a minute two Ray workers score, against one; and what a killed one costs.

    python benchmarks/ray_workers.py RUN [--random 60] [--full]

RUN is a trained run, of which copies are searched on a cluster of this machine: one worker of one
thread, two, and two of which one is killed in the middle. All three must end in the same study. The
result is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch counts cores

import ray
import torch

import smash
from smash.runtime.progress import Advance
from smash.study.study import Candidate


def process() -> int:
    """The process that answers, with all imported that a score needs."""
    import smash.searching.loop  # noqa: F401

    time.sleep(0.5)  # so that each worker answers once
    return os.getpid()


def warm(workers: int) -> list[int]:
    """Lets each worker import what it needs, before anything is timed; gives their processes."""
    ask = ray.remote(process)
    found: set[int] = set()
    while len(found) < workers:
        found |= set(ray.get([ask.remote() for _ in range(workers)]))
    return sorted(found)


def search(run: Path, workers: int, random: int, full: bool, kill_at: int = -1) -> dict[str, Any]:
    """Searches a copy of a run, and says how long it took once all was loaded."""
    ray.init(num_cpus=workers, object_store_memory=300 * 2**20, include_dashboard=False)
    victims = warm(workers)
    seen: list[float] = []

    @contextmanager
    def shown(label: str, total: int) -> Iterator[Advance]:
        seen.append(time.perf_counter())

        def advance(done: int, words: str) -> None:
            seen.append(time.perf_counter())
            if len(seen) == kill_at:
                os.kill(victims[0], signal.SIGKILL)

        yield advance

    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run"
            shutil.copytree(run, path)
            study = smash.search(
                smash.Run.open(path),
                random=random,
                perturb=0,
                markov=0,
                full=full,
                device="cpu",
                ray="auto",
                progress=shown,
            )
            seconds = seen[-1] - seen[0]
            found: list[Candidate] = study.candidates()
    finally:
        ray.shutdown()
    return {"workers": workers, "seconds": seconds, "candidates": found}


def main() -> None:
    """Prints the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--random", type=int, default=60)
    parser.add_argument("--full", action="store_true", help="no race, whose parts wait for all")
    given = parser.parse_args()
    torch.set_num_threads(1)
    one = search(given.run, 1, given.random, given.full)
    two = search(given.run, 2, given.random, given.full)
    killed = search(given.run, 2, given.random, given.full, kill_at=given.random // 4)
    minutes = {
        name: each["seconds"] / 60 for name, each in zip("12k", (one, two, killed), strict=True)
    }
    print(
        json.dumps(
            {
                "candidates": len(one["candidates"]),
                "candidates_a_minute": {
                    "1 worker": len(one["candidates"]) / minutes["1"],
                    "2 workers": len(two["candidates"]) / minutes["2"],
                },
                "ratio": minutes["1"] / minutes["2"],
                "seconds_that_a_killed_worker_costs": 60 * (minutes["k"] - minutes["2"]),
                "same_study": one["candidates"] == two["candidates"] == killed["candidates"],
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
