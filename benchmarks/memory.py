"""Measures the main memory of a search over many architectures of different shapes.

The SMASH network is hardly trained and the images are small, so that thousands of candidates take
minutes; each has shapes of its own, which is what made the allocator keep more and more::

    python -m benchmarks.memory --candidates 5000
    python -m benchmarks.memory --data FOLDER --space mobile --preset small --out FILE
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import smash
from smash.io.files import write_json
from smash.run.run import environment
from smash.runtime.progress import Advance

_RESULT = Path(__file__).parent / "results" / "memory.json"
_PAGE = 4096
_FIRST = 200
"""Candidates after which the size is taken that later ones are compared with."""


def resident() -> float:
    """Reads the resident memory of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def noise(side: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Makes square images of noise, in ten classes."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(256, size=(500, side, side, 3), dtype=np.uint8), np.arange(500)
    return images.transpose(0, 3, 1, 2), labels % 10


def main() -> None:
    """Searches, measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which to stop")
    parser.add_argument("--data", help="images; noise by default")
    parser.add_argument("--val-fraction", type=float, default=0.3)
    parser.add_argument("--side", type=int, default=16, help="of the noise, in pixels")
    parser.add_argument("--space", default="memory-bank")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--out", type=Path, default=_RESULT)
    options = parser.parse_args()
    sizes: dict[int, float] = {}

    @contextmanager
    def watch(label: str, total: int) -> Iterator[Advance]:
        def advance(done: int, words: str) -> None:
            sizes[done] = resident()
            if time.monotonic() > begun + 60 * options.minutes:
                raise TimeoutError

        yield advance

    source = options.data or noise(options.side)
    data = smash.load_data(source, val_fraction=options.val_fraction)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run")
        space = {"space": options.space, "preset": options.preset}
        run = smash.train(data, path, epochs=1, **space, device="cpu")
        begun = time.monotonic()
        counts = {"random": options.candidates, "perturb": 0, "markov": 0}
        with suppress(TimeoutError):
            smash.search(run, device="cpu", progress=watch, **counts)
    ends = range(100, max(sizes, default=0) + 1, 100)
    mean = {
        end: round(float(np.mean([mb for done, mb in sizes.items() if end - 100 < done <= end])))
        for end in ends
    }
    if max(mean, default=0) <= _FIRST:
        sys.exit(f"{len(sizes)} candidates are too few: give more --minutes")
    first = mean[_FIRST]
    result = {
        "environment": environment(),
        "data": Path(options.data).name if options.data else "noise",
        "side": data.task.size[0],
        "space": options.space,
        "preset": options.preset,
        "candidates": max(sizes),
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "mb_after_the_first": first,
        "most_mb_later": round(max(mb for done, mb in sizes.items() if done > _FIRST)),
        "mb_by_candidates": mean,
    }
    write_json(options.out, result)
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
