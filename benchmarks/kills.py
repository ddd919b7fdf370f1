"""Kills commands at random instants, repeats them, and compares the results with undisturbed runs.

    python -m benchmarks.kills --kills 25 --out kills.json

Each command runs in a process of its own, which is killed (SIGKILL) at a random instant: in one of
three repetitions of its whole duration, in the others of what follows the first epoch or candidate.
It is repeated until it ends by itself and may be killed again. Its files must be those of
an undisturbed command, bit by bit, and no score may be missing that was in the journal before the
kill. A search is also killed while it holds the lock of the journal, and must go on within ten
seconds. Run folders are named by relative paths, as users name them. All on one thread of the CPU,
with 400 of scikit-learn's digits.

Processes are forked from one that has imported torch, so that a kill hits work and not an import.
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
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

SPACE = "--space memory-bank --preset tiny -o depth=1 -o max_width=16"
SEARCH = "--random 16 --perturb 4 --markov 2 --keep 3 --device cpu"
COMMANDS = {
    "train": f"train digits.npz {SPACE} --epochs 16 --device cpu",
    "search": f"search RUN {SEARCH}",
    "retrain": "retrain RUN --rank 0 --epochs 4 --device cpu",
    "correlate": "correlate RUN --train 3 --epochs 1 --device cpu",
}
_EXAMPLES = 400
_PATIENCE = 300.0  # seconds that a command may take
_PROMPT = 5.0  # seconds that a command may go on after a signal
_SOON = 10.0  # seconds by which the lock of a killed search may delay the next one


@dataclass
class Outcome:
    """Result of one command.

    Attributes:
        command: Name of the command.
        kills: Number of processes that were killed.
        late: Those of them that had finished an epoch or scored a candidate.
        identical: Repetitions that ended with the files of the undisturbed command.
        faults: Differences in words.
    """

    command: str
    kills: int = 0
    late: int = 0
    identical: int = 0
    faults: list[str] = field(default_factory=list)


def work(arguments: list[str], log: Path) -> None:
    """Runs one command in this process, which ends with its exit code.

    Args:
        arguments: The arguments; paths are relative to the folder of the log.
        log: File that takes the output.
    """
    os.chdir(log.parent)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    import torch

    from smash.cli import main as cli

    torch.set_num_threads(1)
    sys.argv = ["smash", *arguments]
    try:
        cli.main()
    finally:  # a signal while the process ends finds nothing to interrupt
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def start(line: str, run: Path, log: Path) -> BaseProcess:
    """Starts a command as a process that is forked from one where torch is imported."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.preloaded"])
    arguments = [part.replace("RUN", os.path.relpath(run, log.parent)) for part in line.split()]
    process = context.Process(target=work, args=(arguments, log), daemon=True)
    process.start()
    return process


def command(name: str, run: Path) -> str:
    """Gives the arguments that begin a command or continue it."""
    if name != "train":
        return COMMANDS[name]
    begun = (run / "config.toml").exists()
    return f"{COMMANDS[name]} --out RUN" + " --resume" * begun


def finish(name: str, run: Path, log: Path) -> None:
    """Runs a command to its end.

    A child that was finished before the kill is kept, which retrain answers with exit code 2.

    Raises:
        RuntimeError: The command fails.
    """
    process = start(command(name, run), run, log)
    process.join(_PATIENCE)
    kept = "was trained already and is kept" in "".join(log.read_text().splitlines()[-1:])
    if process.exitcode != 0 and not (kept and process.exitcode == 2):
        raise RuntimeError(f"{name} ended with {process.exitcode}: {log.read_text()[-2000:]}")


@dataclass(frozen=True)
class Place:
    """Folders for the commands.

    Attributes:
        folder: Has a run folder for each command to begin with, under the command's name.
        whole: Run folders of undisturbed commands.
        seconds: Durations of the undisturbed commands.
    """

    folder: Path
    whole: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """Log of the undisturbed commands."""
        return self.folder / "log"

    def prepare(self, *names: str) -> None:
        """Runs commands to their end; each begins with the run folder of the one before."""
        digits = load_digits()
        np.savez(
            self.folder / "digits.npz",
            data=digits.images[:_EXAMPLES].astype(np.uint8),
            labels=digits.target[:_EXAMPLES],
        )
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
        name: Name of the command.
        place: Folders, after `prepare`.
        kills: Repetitions, each of which is killed at least once.
        seed: Seed of the instants.
        sent: Signal to send.
        again: Probability that a continued process is killed too.
    """
    draw = random.Random(f"{name} {seed}")  # noqa: S311 # instants, not secrets
    wanted = contents(place.whole[name])
    outcome = Outcome(name)
    for number in range(kills):
        run = place.folder / f"{name}-{number}"
        log = place.folder / f"{name}-{number}.log"
        killed, done = 0, True
        while not killed or (not done and draw.random() < again):
            if not killed:  # from the beginning, also if the last kill came too late
                shutil.rmtree(run, ignore_errors=True)
                shutil.copytree(place.folder / name, run)
            begun, seconds = progress(run), place.seconds[name]
            process = start(command(name, run), run, log)
            if number % 3 and not killed:
                seconds -= _seconds_to_progress(process, run, begun)
            process.join(draw.uniform(0, max(seconds, 0)))
            done = not _kill(process, run, log, sent, outcome)
            killed += not done
            outcome.late += not done and progress(run) > begun
        outcome.kills += killed
        if not done:
            finish(name, run, log)
        _compare(number, run, log, wanted, outcome)
    return outcome


def _compare(number: int, run: Path, log: Path, wanted: dict[str, Any], outcome: Outcome) -> None:
    """Compares a run with that of the undisturbed command, and removes it."""
    found = contents(run)
    if "Traceback" in log.read_text():
        outcome.faults.append(f"repetition {number}: a traceback: {log.read_text()[-2000:]}")
    elif found != wanted:
        odd = [key for key in {*found, *wanted} if found.get(key) != wanted.get(key)]
        outcome.faults.append(f"repetition {number}: other {', '.join(sorted(odd))}")
    else:
        outcome.identical += 1
    shutil.rmtree(run)


def strike_lock(place: Place, kills: int, seed: int) -> Outcome:
    """Kills searches while they hold the lock of the journal.

    Args:
        place: Folders, after `prepare` of the search.
        kills: Number of searches.
        seed: Seed of the instants from which on the lock is waited for.
    """
    draw = random.Random(f"lock {seed}")  # noqa: S311 # instants, not secrets
    wanted = contents(place.whole["search"])
    outcome = Outcome("search, holding the lock")
    for number in range(kills):
        run, log = place.folder / f"lock-{number}", place.folder / f"lock-{number}.log"
        delay = draw.uniform(0, place.seconds["search"])
        while True:  # a search may end before it takes the lock again
            shutil.copytree(place.folder / "search", run)
            begun = progress(run)
            if _kill_holding(run, log, delay):
                break
            shutil.rmtree(run)
            delay /= 2
        outcome.kills += 1
        outcome.late += progress(run) > begun
        free = Path(shutil.copytree(run, place.folder / "free", symlinks=True))
        (free / "study.journal.lock").unlink()
        usual, waited = (_seconds_to_score(folder, log) for folder in (free, run))
        shutil.rmtree(free)
        if waited - usual > _SOON:
            outcome.faults.append(f"repetition {number}: {waited - usual:.1f} s until it went on")
        _compare(number, run, log, wanted, outcome)
    return outcome


def _seconds_to_score(run: Path, log: Path) -> float:
    """Continues a search to its end, and measures the time until its first score."""
    before, started = scores(run), time.monotonic()
    process = start(COMMANDS["search"], run, log)
    while process.exitcode is None and scores(run) == before:
        process.join(0.02)
    waited = time.monotonic() - started
    process.join(_PATIENCE)
    return waited


def _kill_holding(run: Path, log: Path, delay: float) -> bool:
    """Kills a search while it holds the lock of the journal; tells whether it came to that."""
    lock = run / "study.journal.lock"
    process = start(COMMANDS["search"], run, log)
    process.join(delay)
    number = int(process.pid or 0)
    while process.exitcode is None:
        if not os.path.lexists(lock):
            time.sleep(0.0005)
            continue
        os.kill(number, signal.SIGSTOP)
        while Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2][0] not in "TZ":
            time.sleep(0.001)
        held = os.path.lexists(lock)
        os.kill(number, signal.SIGKILL if held else signal.SIGCONT)
        if held:
            process.join()
            return True
    return False


def _seconds_to_progress(process: BaseProcess, run: Path, begun: int) -> float:
    """Waits for the first epoch or candidate of a command, or for its end."""
    started = time.monotonic()
    while process.exitcode is None and progress(run) == begun:
        process.join(0.02)
    return time.monotonic() - started


def _kill(
    process: BaseProcess, run: Path, log: Path, sent: signal.Signals, outcome: Outcome
) -> bool:
    """Kills a command; tells whether it was still running."""
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
    """Counts the whole lines of the journal."""
    path = run / "study.journal"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def progress(run: Path) -> int:
    """Counts epochs of all networks and candidates."""
    epochs = sum(path.read_bytes().count(b"\n") for path in run.rglob("metrics.jsonl"))
    journal = run / "study.journal"
    return epochs + (journal.read_bytes().count(b'"op_code":4') if journal.exists() else 0)


def contents(run: Path) -> dict[str, Any]:
    """Reads everything of a run that must be the same, by name; times are left out."""
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
    """Kills the commands and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=25, help="repetitions a command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", default="KILL", choices=("KILL", "INT", "TERM"))
    parser.add_argument("--command", choices=COMMANDS, action="append")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    names = options.command or list(COMMANDS)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.prepare(*names)
        sent = signal.Signals[f"SIG{options.signal}"]
        strikes = [partial(strike, name, place, sent=sent) for name in names]
        strikes += [partial(strike_lock, place)] * ("search" in names)
        for each in strikes:
            outcome = each(options.kills, options.seed)
            outcomes.append(outcome)
            print(
                f"{outcome.command}: {outcome.identical} of {options.kills} identical, "
                f"{outcome.kills} killed, {outcome.late} of them after an epoch or a candidate"
            )
            print("".join(f"  {fault}\n" for fault in outcome.faults), end="", flush=True)
            if options.out:
                rows = [asdict(outcome) for outcome in outcomes]
                options.out.write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(any(outcome.faults for outcome in outcomes))


if __name__ == "__main__":
    main()
