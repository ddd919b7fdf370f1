"""Checks that a change of the code leaves every computed number as it was, bit by bit.

Trains, searches, retrains and correlates one small run per space and weight source through the
command line, and records what they computed: digests of all tensors, training curves, ids and
losses of candidates, errors of children, rank correlations. Numbers hold for one machine kind and
one thread, so the record is made before a change and compared after it:

    python benchmarks/fixed_runs.py --out before.json
    python benchmarks/fixed_runs.py --out after.json --against before.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

SMASH = [sys.executable, "-m", "smash"]
BANKS = ["--space", "memory-bank"]

RUNS: dict[str, dict[str, list[str]]] = {
    "memory-bank-convolutional": {
        "train": [*BANKS, "--epochs", "1"],
        "search": ["--random", "12", "--perturb", "4", "--markov", "4"],
        "retrain": ["--rank", "0", "--epochs", "1", "--recipe", "modern"],
        "correlate": ["--train", "3", "--epochs", "1"],
    },
    "memory-bank-low-rank": {
        "train": [*BANKS, "--epochs", "1", "--hypernet", "low-rank", "--seed", "3"],
        "search": ["--evolve", "12", "--random", "8", "--strategy", "evolution", "--full"],
        "retrain": ["--rank", "0", "--epochs", "1", "--init", "generated", "--patience", "1"],
    },
    "memory-bank-shared": {
        "train": [*BANKS, "--epochs", "1", "--hypernet", "none", "-o", "variable_nonlinearity=true",
                  "-o", "depth=4"],
        "search": ["--objectives", "loss,params", "--random", "16", "--max-params", "60000"],
        "retrain": ["--epochs", "1", "--rank", "2"],
    },
    "memory-bank-gradient": {
        "train": [*BANKS, "--epochs", "1", "--preset", "tiny", "--class-weights"],
        "search": ["--strategy", "gradient", "--random", "6", "--perturb", "4", "--markov", "4"],
        "retrain": ["--epochs", "1", "--baseline", "resnet"],
    },
    "nas-bench-201": {
        "train": ["--epochs", "1", "--space", "nas-bench-201"],
        "search": ["--random", "16", "--perturb", "4", "--markov", "4", "--prior", "synflow"],
        "retrain": ["--rank", "0", "--epochs", "1"],
        "correlate": ["--train", "3", "--epochs", "1", "--proxy", "naswot,az-nas"],
    },
    "mobile": {
        "train": ["--epochs", "2", "--space", "mobile"],
        "search": ["--random", "12", "--perturb", "4", "--markov", "4"],
        "retrain": ["--rank", "0", "--epochs", "1"],
    },
}  # fmt: skip
_VOLATILE = {
    "seconds",
    "minutes",
    "path",
    "child_time",
    "graph_time",
    "picture",
    "about",
    "sha256",
    "file",
}


def main() -> None:
    """Records, and compares where there is a record to compare with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--only", nargs="*", default=list(RUNS))
    arguments = parser.parse_args()
    found = {name: record(RUNS[name]) for name in arguments.only}
    arguments.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if arguments.against is None:
        return
    before = json.loads(arguments.against.read_text(encoding="utf-8"))
    changed = [line for name in found for line in differences(before[name], found[name], name)]
    print("\n".join(changed) or "every number is the same")
    sys.exit(bool(changed))


def record(options: dict[str, list[str]]) -> dict[str, Any]:
    """Runs the commands in a new folder and gathers what they computed."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        smash("train", "digits", "--out", str(run), *options["train"])
        smash("search", str(run), *options["search"])
        smash("retrain", str(run), *options["retrain"])
        found: dict[str, Any] = {}
        if "correlate" in options:
            answer = smash("correlate", str(run), *options["correlate"], "--json")
            found["correlate"] = without_volatile(json.loads(answer))
        found["candidates"] = without_volatile(
            json.loads(smash("show", str(run), "--top", "1000", "--json"))
        )
        found["network"] = digest(run / "network.safetensors")
        found["curve"] = curve(run / "metrics.jsonl")
        found["children"] = {
            child.name: {
                "model": digest(child / "model.safetensors"),
                "curve": curve(child / "metrics.jsonl"),
                "result": without_volatile(json.loads((child / "result.json").read_text())),
            }
            for child in sorted((run / "children").iterdir())
            if child.is_dir()
        }
        return found


def smash(*words: str) -> str:
    """Runs a command with one thread and gives its standard output."""
    done = subprocess.run(  # noqa: S603
        [*SMASH, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"smash {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def digest(path: Path) -> str:
    """Identifies the values of all tensors of a file, whatever their names."""
    hashes = sorted(
        hashlib.sha256(np.ascontiguousarray(tensor).tobytes()).hexdigest()
        for tensor in load_file(path).values()
    )
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]


def curve(path: Path) -> list[Any]:
    """Reads training curves."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [without_volatile(json.loads(line)) for line in lines]


def without_volatile(value: Any) -> Any:
    """Leaves out times, paths and versions."""
    if isinstance(value, dict):
        return {k: without_volatile(v) for k, v in value.items() if k not in _VOLATILE}
    if isinstance(value, list):
        return [without_volatile(each) for each in value]
    return value


def differences(before: Any, after: Any, where: str) -> list[str]:
    """Lists each number that changed; new and missing numbers are ignored."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            line
            for key in before.keys() & after.keys()
            for line in differences(before[key], after[key], f"{where}.{key}")
        ]
    if isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            return [f"{where}: {len(before)} entries, now {len(after)}"]
        return [
            line
            for index, (first, second) in enumerate(zip(before, after, strict=True))
            for line in differences(first, second, f"{where}[{index}]")
        ]
    return [] if before == after else [f"{where}: {before!r}, now {after!r}"]


if __name__ == "__main__":
    main()
