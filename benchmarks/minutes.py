"""Measures how well `--minutes` is kept beside a competing load, and whether its record repeats it.

Each command runs for the same minutes. After a third of them, processes that do nothing but compute
start on all cores, so that what was timed at first no longer holds. Then the training is repeated
from its config.toml alone, without the load, and must give the same network::

    python -m benchmarks.minutes --minutes 5
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.fixed_runs import digest
from smash.io.files import write_json
from smash.run.child import Child
from smash.run.run import Run, environment

_RESULT = Path(__file__).parent / "results" / "minutes-kept.json"
_BUSY = [sys.executable, "-c", "while True: pass"]
_SMASH = [sys.executable, "-m", "smash"]


def wall_seconds(words: list[str], load_after: float) -> float:
    """Runs a command beside a load that begins after some seconds; returns its duration."""
    begun = time.monotonic()
    command = subprocess.Popen([*_SMASH, *words], stderr=subprocess.DEVNULL)  # noqa: S603
    load: list[subprocess.Popen[bytes]] = []
    try:
        try:
            command.wait(load_after)
        except subprocess.TimeoutExpired:
            load = [subprocess.Popen(_BUSY) for _ in range(os.cpu_count() or 1)]  # noqa: S603
        if command.wait():
            sys.exit(f"smash {' '.join(words)} failed")
    finally:
        for process in load:
            process.kill()
    return time.monotonic() - begun


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--out", type=Path, default=_RESULT)
    options = parser.parse_args()
    minutes = ["--minutes", str(options.minutes)]
    with tempfile.TemporaryDirectory() as folder:
        path, again = Path(folder, "run"), Path(folder, "again")
        commands = {
            "train": ["train", options.data, "--out", str(path), "--device", "cpu", *minutes],
            "search": ["search", str(path), "--device", "cpu", *minutes],
            "retrain": ["retrain", str(path), "--rank", "0", "--device", "cpu", *minutes],
        }
        kept = {
            verb: round(wall_seconds(words, 20 * options.minutes) / (60 * options.minutes), 3)
            for verb, words in commands.items()
        }
        run = Run.open(path)
        (child,) = Child.of_run(run)
        assert child.record.length is not None  # noqa: S101 # it was trained for minutes
        again.mkdir()
        shutil.copy(path / "config.toml", again)
        wall_seconds(["train", "--resume", "--out", str(again), "--device", "cpu"], 1e9)
        names = ("network.safetensors", "config.toml")
        result = {
            "environment": environment(),
            "data": options.data,
            "minutes": options.minutes,
            "wall_time_over_minutes": kept,
            "length_of_training": run.settings.training.length.model_dump(),
            "length_of_child": child.record.length.model_dump(),
            "the_record_repeats_the_training": digest(path / names[0]) == digest(again / names[0])
            and (path / names[1]).read_bytes() == (again / names[1]).read_bytes(),
        }
    write_json(options.out, result)
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
