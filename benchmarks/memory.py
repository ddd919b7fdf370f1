"""Measures the main memory of a search over many architectures of different shapes.

The SMASH network is hardly trained and the images are small, so that thousands of candidates take
minutes; each has shapes of its own, which is what made the allocator keep more and more::

    python -m benchmarks.memory --candidates 5000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

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


def main() -> None:
    """Searches, measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=5000)
    parser.add_argument("--side", type=int, default=16, help="of the images, in pixels")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--out", type=Path, default=_RESULT)
    options = parser.parse_args()
    sizes: dict[int, float] = {}

    @contextmanager
    def watch(label: str, total: int) -> Iterator[Advance]:
        def advance(done: int, words: str) -> None:
            sizes[done] = resident()

        yield advance

    rng = np.random.default_rng(0)
    shape = (500, options.side, options.side, 3)
    images, labels = rng.integers(256, size=shape, dtype=np.uint8), np.arange(500) % 10
    data = smash.load_data((images, labels), val_fraction=0.3, channels="last")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run")
        banks = {"space": "memory-bank", "preset": options.preset}
        run = smash.train(data, path, epochs=1, **banks, device="cpu")
        begun = time.monotonic()
        counts = {"random": options.candidates, "perturb": 0, "markov": 0}
        smash.search(run, device="cpu", progress=watch, **counts)
    ends = range(100, options.candidates + 1, 100)
    mean = {
        end: round(float(np.mean([mb for done, mb in sizes.items() if end - 100 < done <= end])))
        for end in ends
    }
    first = mean[_FIRST]
    result = {
        "environment": environment(),
        "preset": options.preset,
        "side": options.side,
        "candidates": options.candidates,
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "mb_after_the_first": first,
        "most_mb_later": round(max(mb for done, mb in sizes.items() if done > _FIRST)),
        "mb_by_candidates": mean,
    }
    write_json(options.out, result)
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
