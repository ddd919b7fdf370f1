"""``python -m benchmarks.speed``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.speed import MEASUREMENTS, QUICK, SIZES, Effort, measure
from smash.runtime.progress import on_terminal


def main() -> None:
    """Measures, and prints a table or JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description="Measure costs as ratios, on synthetic data."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(MEASUREMENTS)}; by default all"
    )
    parser.add_argument("--size", action="append", choices=SIZES, default=[])
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto")
    parser.add_argument("--quick", action="store_true", help="measure little, to see that it works")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := {*options.names} - {*MEASUREMENTS}:
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    effort = QUICK if options.quick else Effort()
    rows = measure(options.names, options.size, options.device, effort, on_terminal)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    table = Table(title="Ratios of sides that took turns", box=box.SIMPLE)
    for name in ("measurement", "size", "device"):
        table.add_column(name)
    for name in ("ratio", "median"):
        table.add_column(name, justify="right")
    table.add_column("unit")
    for row in rows:
        numbers = (f"{row.ratio:.3g}", f"{row.median:,.3f}")
        table.add_row(row.name, row.size, row.device, *numbers, row.unit)
    Console().print(table)


if __name__ == "__main__":
    main()
