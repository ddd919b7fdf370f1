"""How large is a report, and how soon has a browser drawn it?

    python benchmarks/report.py

Reports of made-up scores, with latencies and a check of the ranking of 15,625 architectures. A line
for each, the seconds being those from opening the page to the end of its program, the median and
the longest of five openings. That needs Chromium, as its tests do; without one, the size alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what the tests make

from tests.reporting.browser import CHROMIUM, Browser
from tests.reporting.made import candidates, contents_of

from smash.config import SpaceSettings
from smash.reporting.contents import Contents
from smash.reporting.page import page

_DIFFERENT = 100  # architectures that are drawn; more would only take longer to draw at random
_POINTS = 15_625  # cells of NAS-Bench-201
_OPENINGS = 5


def made(count: int, preset: str) -> Contents:
    """A run with so many candidates."""
    found, _ = candidates(min(count, _DIFFERENT), SpaceSettings(preset=preset))
    many = [
        replace(found[n % len(found)], id=f"{n:012x}", index=n, latency=1e-3 * (1 + n % 9))
        for n in range(count)
    ]
    tau = {"kendall_tau": {"value": 0.5, "low": 0.4, "high": 0.6}}
    points = [[f"{n:012x}", 1 + n / _POINTS, 0.5 + n % 97 / 200] for n in range(_POINTS)]
    trust = {"n": _POINTS, "truth": "made up", "score": "made up", "baselines": {}, **tau}
    return replace(contents_of(many), trust={**trust, "points": points})


def main() -> None:
    """Makes reports and opens them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", nargs="+", type=int, default=[700, 3000, 20_000])
    parser.add_argument("--preset", default="small")
    given = parser.parse_args()
    for count in given.candidates:
        contents = made(count, given.preset)
        begun = time.perf_counter()
        html = page(contents)
        row = {
            "candidates": count,
            "preset": given.preset,
            "megabytes": round(len(html.encode()) / 1e6, 2),
            "made_seconds": round(time.perf_counter() - begun, 1),
        }
        if CHROMIUM:
            with tempfile.TemporaryDirectory() as name:
                path = Path(name) / "report.html"
                path.write_text(html, encoding="utf-8")
                with Browser(Path(name) / "browser") as browser:
                    browser.set(width=1200)
                    drawn = [browser.open(path) / 1000 for _ in range(_OPENINGS)]
            row |= {"drawn_seconds": round(statistics.median(drawn), 2), "longest": max(drawn)}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
