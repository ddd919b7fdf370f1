"""Asks on five data sets whether the winner of a search is better than plain networks of its cost.

    python -m benchmarks.compare DATA --out RUNS

DATA is a folder with the files that `CASES` names. Each data set has limits of a small device, and
goes through the commands that a user types: ``smash train``, ``smash search``, ``smash retrain``,
after which the winner is known, and ``smash compare``. Seeds are whole repetitions, of training and
search too; where examples are few, each part of them is tested on in turn, by a repetition of its
own. The result is ``results/compare.json``; a repeated command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import time
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from smash.evaluation.intervals import error_interval
from smash.evaluation.trainings import SeedSpread

RESULT = Path(__file__).parent / "results" / "compare.json"

_RATE = 8000  # Hz, of the spoken digits


@dataclass(frozen=True)
class Case:
    """A data set with limits.

    Attributes:
        data: Its name in the table.
        source: What ``smash train`` reads, or the file that it is made of.
        train: Options of ``smash train`` for the data.
        limits: Options of ``smash train`` for the limits, and for the SMASH network.
        minutes: Minutes of training and of searching.
        children: Options of the training of children.
        others: Options of ``smash compare`` on what the winner is compared with.
        folds: Number of runs of a repetition, each tested on another part of the data.
    """

    data: str
    source: str
    train: str
    limits: str
    minutes: tuple[float, float]
    children: str
    others: str = "--random 5"
    folds: int = 1


CASES = (
    Case("digits, 8×8, out of fold", "digits", "--test-fold {fold}", "--max-params 10000",
         (1.5, 1), "--epochs 40 --finalists 16 --finals-share 4", "--random 5 --no-median", 5),
    Case("activities, 6×128", "hapt_windows.npz", "--test-fraction 0.3 --val-fraction 0.2",
         "--max-params 10000 --max-macs 1000000",
         (4, 3), "--epochs 20 --batch-size 128 --finalists 16 --finals-share 4"),
    Case("spoken digits, log-mel", "fsdd_8khz.npz",
         "--group-pattern _([a-z]+)_ --test-fraction 0.33",
         "--max-params 25000 --max-macs 3000000",
         (4, 3), "--epochs 30 --batch-size 64 --finalists 16 --finals-share 4"),
    Case("chairs and monitors, 32³", "modelnet_chair_monitor.npz", "--dims 3",
         "--max-params 50000 --max-macs 10000000",
         (6, 4), "--epochs 10 --finalists 8 --finals-share 2", ""),
    Case("CIFAR-10, 32×32", "cifar10.tar.xz", "",
         "--max-params 78666 --max-macs 12501632 --proxy-size 16 --batch-size 128",
         (12, 6), "--epochs 4 --batch-size 128 --augment --finalists 24",
         "--random 5 --no-median --with mlperf-resnet-16"),
)  # fmt: skip


def main() -> None:
    """Runs the commands of each data set and seed that the result lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="folder for data and runs")
    parser.add_argument("--only", nargs="+", help="words of the names of data sets")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = [case.data for case in CASES]
    rows: list[dict[str, Any]] = json.loads(RESULT.read_text()) if RESULT.is_file() else []
    for seed in options.seeds:
        for case in CASES:
            if options.only and not any(word in case.data for word in options.only):
                continue
            if any((row["data"], row["seed"]) == (case.data, seed) for row in rows):
                continue
            source = prepared(case.source, options.data, options.out)
            rows.append(repetition(case, source, seed, options.out))
            rows.sort(key=lambda row: (names.index(row["data"]), row["seed"]))
            RESULT.write_text(json.dumps(rows, indent=1) + "\n")
            print(json.dumps(rows), flush=True)


def repetition(case: Case, source: str, seed: int, out: Path) -> dict[str, Any]:
    """Trains, searches and compares with one seed; for each fold anew, with a seed of its own."""
    training, searching = (f"--minutes {minutes:g}" for minutes in case.minutes)
    commands = [
        f"train {{data}} {case.train} {case.limits} {training}",
        f"search {{run}} {searching}",
        f"retrain {{run}} {case.children}",
        f"compare {{run}} {case.children} {case.others} --seeds 1",
    ]
    row = {
        "data": case.data,
        "seed": seed,
        "commands": [f"smash {' '.join(command.split())}" for command in commands],
    }
    stem = f"{case.source.partition('.')[0]}-{seed}"
    if case.folds == 1:
        return row | carried_out(commands, {"{data}": source, "{run}": str(out / stem)}, seed)
    of_folds = []
    for fold in range(case.folds):
        words = {
            "{data}": source,
            "{run}": str(out / f"{stem}-fold{fold + 1}"),
            "{fold}": f"{fold + 1}/{case.folds}",
        }
        of_folds.append(carried_out(commands, words, case.folds * seed + fold))
    took = [each["minutes_to_winner"] for each in of_folds]
    return row | {
        "minutes_to_winner": round(fmean(took), 1),
        "comparison": out_of_fold([each["comparison"] for each in of_folds]),
        "folds": of_folds,
    }


def carried_out(commands: list[str], words: dict[str, str], seed: int) -> dict[str, Any]:
    """Carries out the commands on one run, the words in braces replaced."""
    run, took = words["{run}"], []
    for command in commands:
        typed = [words.get(word, word) for word in command.split()] + ["--seed", str(seed)]
        if command == commands[0]:
            typed = [*(["train", "--resume"] if Path(run).exists() else typed), "--out", run]
        if command == commands[-1]:
            typed.append("--json")
        begun = time.monotonic()
        done = subprocess.run(  # noqa: S603, words of this file
            [sys.executable, "-m", "smash", *typed], check=True, text=True, stdout=subprocess.PIPE
        )
        took.append(round((time.monotonic() - begun) / 60, 1))
    return {
        "minutes": took,
        "minutes_to_winner": round(sum(took[:-1]), 1),
        "comparison": json.loads(done.stdout),
    }


def out_of_fold(comparisons: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Joins the comparisons of all folds, each of which found a winner of its own.

    Errors are those of all examples. Distances are means over the folds, with Student's interval:
    folds differ by their examples, their searches and their trainings.
    """
    examples = [each["test_examples"] for each in comparisons]
    winners = [each["contestants"][0] for each in comparisons]
    best = [
        min(
            (one for one in each["contestants"] if one["role"] == "plain"),
            key=lambda one: float(one["val"]["value"]),
        )
        for each in comparisons
    ]

    def joined(role: str, chosen: Sequence[dict[str, Any]]) -> dict[str, Any]:
        misses = sum(each["test"]["value"] * n for each, n in zip(chosen, examples, strict=True))
        error = misses / sum(examples)
        low, high = error_interval(error, sum(examples))
        return {
            "role": role,
            "names": [each["name"] for each in chosen],
            **{cost: [each[cost] for each in chosen] for cost in ("params", "macs")},
            "test": {"value": error, "low": low, "high": high},
            "behind": mean_with_interval([each["behind"]["value"] for each in chosen]),
        }

    return {
        "test_examples": sum(examples),
        "contestants": [joined("winner", winners), joined("plain", best)],
        "random": mean_with_interval([each["random"]["value"] for each in comparisons]),
    }


def mean_with_interval(values: Sequence[float]) -> dict[str, float]:
    """Computes a mean with its 95% interval (Student)."""
    half = SeedSpread(stdev(values), len(values) - 1).half_width(len(values))
    mean = fmean(values)
    return {"value": mean, "low": mean - half, "high": mean + half}


def prepared(source: str, data: Path, out: Path) -> str:
    """Gives the path or name that ``smash train`` reads, made once from a file of the data sets."""
    make = PREPARED.get(source)
    if make is None:
        return source if source == "digits" else str(data / source)
    made = out / source.partition(".")[0]
    if not made.exists():
        make(data / source, made)
    return str(made)


def write_recordings(file: Path, folder: Path) -> None:
    """Writes recordings as WAV files in class folders, the speaker in the name of each."""
    arrays = np.load(file)
    columns = (arrays[name] for name in ("data", "labels", "groups"))
    for number, (samples, label, speaker) in enumerate(zip(*columns, strict=True)):
        path = folder / str(label) / f"{label}_{speaker}_{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as recording:
            recording.setnchannels(1)
            recording.setsampwidth(2)
            recording.setframerate(_RATE)
            recording.writeframes(np.trim_zeros(samples[0], "b").tobytes())


def unpack(file: Path, folder: Path) -> None:
    """Unpacks an archive of one folder."""
    with tarfile.open(file) as archive:
        archive.extractall(folder.parent / "unpacked", filter="data")
    (found,) = (folder.parent / "unpacked").iterdir()
    found.rename(folder)


PREPARED: dict[str, Callable[[Path, Path], None]] = {
    "fsdd_8khz.npz": write_recordings,
    "cifar10.tar.xz": unpack,
}
"""What makes a data set from a file, where ``smash train`` does not read the file itself."""


if __name__ == "__main__":
    main()
