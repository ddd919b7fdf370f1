"""Kills the commands at random instants, and compares what they come to with uninterrupted runs.

    python -m benchmarks.kills --kills 25 --out kills.json

Each command runs in a process of its own, which is killed (SIGKILL) after a random part of the time
that the whole command takes. Then it is repeated, as a user would, until it ends by itself; that
may be killed again. What it leaves must be the same, bit by bit, as what an uninterrupted command
leaves, and no score that was in the journal before the kill may be missing after it. All on one
thread of the CPU, with scikit-learn's digits.

Processes are forked from one that has imported torch, so that a kill meets work and not an import.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

SEARCH = "--random 16 --perturb 4 --markov 2 --keep 3 --device cpu"
COMMANDS = {
    "train": "train digits --preset tiny -o depth=1 -o max_width=16 --epochs 4 --device cpu",
    "search": f"search RUN {SEARCH}",
    "retrain": "retrain RUN --epochs 2 --device cpu",
    "correlate": "correlate RUN --train 3 --epochs 1 --device cpu",
}
_PATIENCE = 300.0  # seconds for a command that takes some
_PROMPT = 5.0  # seconds that a command may go on after a signal
_PRELOADED = [
    "torch._dynamo",
    "sklearn.datasets",
    "smash.searching.search",
    "smash.correlation.correlate",
]


@dataclass
class Outcome:
    """What became of one command.

    Attributes:
        command: Its name.
        kills: How many processes were killed.
        identical: How many of the repetitions ended in the same as the uninterrupted command.
        faults: What was otherwise.
    """

    command: str
    kills: int = 0
    identical: int = 0
    faults: list[str] = field(default_factory=list)


def work(arguments: list[str], log: Path) -> None:
    """Is the process: runs one command, and ends with its exit code."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    import torch

    from smash.cli import main as cli

    torch.set_num_threads(1)
    sys.argv = ["smash", *arguments]
    cli.main()


def start(line: str, run: Path, log: Path) -> BaseProcess:
    """Starts a command as a process that is forked from one where torch is imported."""
    context = get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    arguments = [part.replace("RUN", str(run)) for part in line.split()]
    process = context.Process(target=work, args=(arguments, log), daemon=True)
    process.start()
    return process


def command(name: str, run: Path) -> str:
    """The line that begins a command, or goes on with it."""
    if name != "train":
        return COMMANDS[name]
    begun = (run / "config.toml").exists()
    return f"{COMMANDS[name]} --out RUN" + " --resume" * begun


def finish(name: str, run: Path, log: Path) -> None:
    """Runs a command to its end.

    A child that was finished before its process was killed is refused, as it is kept.

    Raises:
        RuntimeError: It fails.
    """
    process = start(command(name, run), run, log)
    process.join(_PATIENCE)
    kept = "was trained already and is kept" in "".join(log.read_text().splitlines()[-1:])
    if process.exitcode != 0 and not (kept and process.exitcode == 2):
        raise RuntimeError(f"{name} ended with {process.exitcode}: {log.read_text()[-2000:]}")


@dataclass(frozen=True)
class Place:
    """Where commands are struck.

    Attributes:
        folder: A folder, with what each command begins with under the command's name.
        whole: What each command leaves that is not interrupted.
        seconds: How long that took.
    """

    folder: Path
    whole: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """What the uninterrupted commands print."""
        return self.folder / "log"

    def prepare(self, *names: str) -> None:
        """Runs commands to their end; each begins with what the one before has left."""
        before = self.folder / "train"
        before.mkdir()
        for name in COMMANDS:
            if not set(names) & set(list(COMMANDS)[list(COMMANDS).index(name) :]):
                return
            whole = self.folder / f"{name}-whole"
            shutil.copytree(before, self.folder / name, dirs_exist_ok=True)
            shutil.copytree(before, whole)
            started = time.monotonic()
            finish(name, whole, self.log)
            self.whole[name], self.seconds[name] = whole, time.monotonic() - started
            before = whole


def strike(
    name: str,
    place: Place,
    kills: int,
    seed: int,
    sent: signal.Signals = signal.SIGKILL,
    again: float = 0.3,
) -> Outcome:
    """Kills a command at random instants.

    Args:
        name: The command.
        place: Where `prepare` was called.
        kills: How many repetitions, each of which is killed at least once.
        seed: Seed of the instants.
        sent: The signal.
        again: Probability that a process that goes on is killed as well.
    """
    draw = random.Random(f"{name} {seed}")  # noqa: S311 # instants, not secrets
    wanted = contents(place.whole[name])
    outcome = Outcome(name)
    for number in range(kills):
        run = place.folder / f"{name}-{number}"
        log = place.folder / f"{name}-{number}.log"
        killed, done = 0, True
        while not killed or (not done and draw.random() < again):
            if not killed:  # from the beginning, also where the last one was too late
                shutil.rmtree(run, ignore_errors=True)
                shutil.copytree(place.folder / name, run)
            done = not _kill(name, run, log, draw.uniform(0, place.seconds[name]), sent, outcome)
            killed += not done
        outcome.kills += killed
        if not done:
            finish(name, run, log)
        found = contents(run)
        if "Traceback" in log.read_text():
            outcome.faults.append(f"repetition {number}: a traceback: {log.read_text()[-2000:]}")
        elif found != wanted:
            odd = [key for key in {*found, *wanted} if found.get(key) != wanted.get(key)]
            outcome.faults.append(f"repetition {number}: other {', '.join(sorted(odd))}")
        else:
            outcome.identical += 1
        shutil.rmtree(run)
    return outcome


def _kill(
    name: str, run: Path, log: Path, delay: float, sent: signal.Signals, outcome: Outcome
) -> bool:
    """Kills a command after a while; says whether it was in time."""
    process = start(command(name, run), run, log)
    process.join(delay)
    before = scores(run)
    if process.exitcode is not None:
        return False
    os.kill(int(process.pid or 0), sent)
    asked = time.monotonic()
    process.join(_PATIENCE)
    if process.exitcode == 0:
        return False
    wanted = -sent if sent == signal.SIGKILL else 128 + sent
    if process.exitcode not in (wanted, -sent):
        outcome.faults.append(
            f"{sent.name}: exit code {process.exitcode}: {log.read_text()[-900:]}"
        )
    if (waited := time.monotonic() - asked) > _PROMPT:
        outcome.faults.append(f"{sent.name}: {waited:.1f} s until it ended")
    if scores(run) < before:
        outcome.faults.append(f"{before - scores(run)} scores are gone")
    return True


def scores(run: Path) -> int:
    """Whole lines of the journal."""
    path = run / "study.journal"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def contents(run: Path) -> dict[str, Any]:
    """All that a run holds and that must be the same, by name; times are left out."""
    from smash.io.tensors import load_tensors
    from smash.study.study import Study

    found: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.suffix == ".safetensors" and path.name != "state.safetensors":
            tensors, about = load_tensors(path)
            plain = {
                key: (str(t.dtype), t.shape, t.numpy().tobytes()) for key, t in tensors.items()
            }
            found[name] = (plain, about)
        elif path.name == "study.journal":
            found[name] = [asdict(one) for one in Study(path).candidates()]
        elif path.name == "metrics.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        elif path.name in ("architecture.json", "result.json", "trust.json"):
            found[name] = json.loads(path.read_text())
        elif path.name == "config.toml":
            found[name] = path.read_text()
    return found


def main() -> None:
    """Strikes the commands and prints what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=25, help="repetitions a command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", default="KILL", choices=("KILL", "INT", "TERM"))
    parser.add_argument("--command", choices=COMMANDS, action="append")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    outcomes = []
    names = given.command or list(COMMANDS)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.prepare(*names)
        for name in names:
            sent = signal.Signals[f"SIG{given.signal}"]
            outcome = strike(name, place, given.kills, given.seed, sent)
            print(
                f"{name}: {outcome.identical} of {given.kills} identical, {outcome.kills} killed "
                f"by SIG{given.signal}"
            )
            print("".join(f"  {fault}\n" for fault in outcome.faults), end="", flush=True)
            outcomes.append(asdict(outcome))
    if given.out:
        given.out.write_text(json.dumps(outcomes, indent=2) + "\n")
    sys.exit(any(outcome["faults"] for outcome in outcomes))


if __name__ == "__main__":
    main()
