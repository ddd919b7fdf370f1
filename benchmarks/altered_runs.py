"""Runs commands on damaged and hostile run folders, which they must work with or refuse in words.

    python -m benchmarks.altered_runs --folders 2000 --out benchmarks/results/altered-runs.json

A run folder is altered at random: bytes or values of its files; links, pipes and folders in place
of files; names with control characters. Then one command that reads it is run, and one that works
on it. Faults are a traceback, a control character in the output, an end by a signal, and a process
that neither ends nor heeds Ctrl-C. So is any change outside the run folder: of decoys, to which
links and paths lead, of the home folder or of the working directory. A folder follows from the seed
and its number.

Commands run in a forked process, a few folders each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import Pipe
from pathlib import Path

from benchmarks.altering import alter, alter_json, alter_lines, alter_safetensors, alter_toml
from benchmarks.fuzzing import limit_memory
from benchmarks.readers import make_run
from smash.cli import main as cli
from smash.correlation.correlate import correlate
from smash.run.run import Run

READING = {"show": "show RUN", "show --json": "show RUN --json", "report": "report RUN"}
WORKING = {
    "evaluate": "evaluate CHILD --device cpu",
    "export": "export CHILD --to RUN/exported.safetensors",
    "train": "train --resume --out RUN --device cpu",
    "search": "search RUN --random 4 --perturb 1 --markov 1 --device cpu",
    "retrain": "retrain RUN --rank 1 --epochs 1 --device cpu",
    "correlate": "correlate RUN --train 3 --epochs 1 --device cpu",
}
COMMANDS = {**READING, **WORKING}
_OFTEN = (6, 1, 6, 2, 2, 6)  # how often each that works is run: those that take long, seldom

_SECONDS = 20.0  # until a command is interrupted
_PROMPT = 20.0  # seconds until it must have ended then
_BATCH = 50  # folders a process
_SHAPES = {
    ".json": alter_json,
    ".jsonl": alter_lines,
    ".journal": alter_lines,
    ".toml": alter_toml,
    ".safetensors": alter_safetensors,
}
_OPENED = [  # what commands open, create or follow
    *(".train.lock", ".search.lock", ".retrain.lock", ".search.owner", ".trust.jsonl.lock"),
    *("study.journal.lock", "storage.json", "trust.json", "trust.jsonl", "trust.svg"),
    *(
        "latency.jsonl",
        "comparison.json",
        "report.html",
        "exported.safetensors",
        ".report.html.1.tmp",
    ),
    *("snapshots", "snapshots/step-1.safetensors", "copies", "tensorboard", "children/new"),
    *("children/new/architecture.json", "children/new/result.json"),
]
_NAMES = ["\x1b[31mred", "[bold]x", "[link=x]y", "a\nb", "\u202egnp", "\udcff", "x" * 200]


@dataclass
class Tally:
    """Counts how a command ended.

    Attributes:
        command: Name of the command.
        folders: Altered folders that it was run on.
        done: Ended with 0.
        refused: Ended with 1 or 2 and a message.
        interrupted: Had work for more than twenty seconds, as an altered setting may ask for, and
            heeded Ctrl-C.
        faults: All else, in words.
    """

    command: str
    folders: int = 0
    done: int = 0
    refused: int = 0
    interrupted: int = 0
    faults: list[str] = field(default_factory=list)


def alter_run(run: Path, decoys: Path, draw: random.Random) -> str:
    """Alters a run folder at one or two places, and says how."""
    changes = [_alter_content] * 6 + [_replace, _add, _rename]
    return "; ".join(
        draw.choice(changes)(run, decoys, draw) for _ in range(draw.choice((1, 1, 1, 2)))
    )


def _file(run: Path, draw: random.Random) -> Path:
    return draw.choice(sorted(path for path in run.rglob("*") if path.is_file()))


def _alter_content(run: Path, decoys: Path, draw: random.Random) -> str:
    path = _file(run, draw)
    content = path.read_bytes()
    shape = _SHAPES.get(path.suffix, alter)
    if draw.random() < 0.3:
        shape = alter
    with suppress(ValueError, KeyError):  # altered before, so that it has no values
        content = shape(content, draw)
    path.unlink()
    path.write_bytes(content)
    return f"content of {path.relative_to(run)}"


def _put(path: Path, decoys: Path, draw: random.Random) -> str:
    """Makes something that is no sound file at a path."""
    relative = Path(os.path.relpath(decoys, path.parent))
    kinds: dict[str, Callable[[], object]] = {
        "pipe": partial(os.mkfifo, path),
        "link to a file": partial(path.symlink_to, draw.choice((decoys, relative)) / "file"),
        "link to a folder": partial(path.symlink_to, draw.choice((decoys, relative)) / "folder"),
        "link to nothing": partial(path.symlink_to, draw.choice((decoys, relative)) / "new"),
        "link to itself": partial(path.symlink_to, path.name),
        "link to a device": partial(path.symlink_to, "/dev/zero"),
        "folder": path.mkdir,
        "empty file": path.touch,
        "foreign file": partial(path.write_bytes, draw.randbytes(200)),
    }
    kind = draw.choice(list(kinds))
    with suppress(OSError):  # its folder was replaced before
        path.parent.mkdir(exist_ok=True)
        kinds[kind]()
    return kind


def _replace(run: Path, decoys: Path, draw: random.Random) -> str:
    path = _file(run, draw)
    path.unlink()
    if draw.random() < 0.2:
        return f"{path.relative_to(run)} is missing"
    return f"{_put(path, decoys, draw)} in place of {path.relative_to(run)}"


def _add(run: Path, decoys: Path, draw: random.Random) -> str:
    path = run / draw.choice(_OPENED)
    with suppress(OSError):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return f"{_put(path, decoys, draw)} at {path.relative_to(run)}"


def _rename(run: Path, decoys: Path, draw: random.Random) -> str:
    path = draw.choice([*(run / "children").glob("*"), _file(run, draw)])
    name = draw.choice(_NAMES)
    with suppress(OSError):
        path.rename(path.with_name(name))
    return f"{path.relative_to(run)} renamed to {name!r}"


def watch(folder: Path) -> dict[str, str]:
    """Reads a tree: kind, mode and content of each entry."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = b""
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        mode = path.lstat().st_mode
        found[str(path)] = f"{mode:o} {hashlib.sha256(content).hexdigest()[:16]}"
    return found


def run_command(arguments: list[str], log: Path) -> tuple[int, bool]:
    """Runs a command in this process; returns its exit code, and whether it ended by itself.

    It is interrupted after a while. If it does not heed that, the whole process ends.
    """
    alarms: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        if alarms:
            os._exit(1)
        alarms.append(number)
        os.kill(os.getpid(), signal.SIGINT)

    code = 0
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS, _PROMPT)
    with log.open("w") as stream, redirect_stdout(stream), redirect_stderr(stream):
        sys.argv = ["smash", *arguments]
        try:
            cli.main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return code, not alarms


def judge(code: int, by_itself: bool, output: str) -> str | None:
    """Says what is wrong with the way in which a command ended; None if nothing is."""
    if "Traceback" in output:
        return "a traceback: " + output[output.index("Traceback") :][-600:]
    if code not in ((0, 1, 2) if by_itself else (0, 1, 2, 130)):
        return f"exit code {code}: {output[-300:]}"
    if code in (1, 2) and "smash: " not in output:
        return f"exit code {code} without a message: {output[-300:]}"
    raw = {each for each in output if unicodedata.category(each) == "Cc" and each not in "\n\r\t"}
    if raw:
        return f"raw control characters {sorted(raw)} in the output"
    return None


class Trial:
    """Alters copies of a run folder and runs commands on them.

    Args:
        folder: An empty folder to work in.
        seed: Seed of the alterations.
        good: The run whose copies are altered; by default a new one.
    """

    def __init__(self, folder: Path, seed: int, good: Path | None = None) -> None:
        self._seed = seed
        self._decoys, self._home = folder / "decoys", folder / "home"
        self._good, self._run, self._log = folder / "good", folder / "runs" / "run", folder / "log"
        for made in (self._decoys / "folder", self._home / "temporary", folder / "runs"):
            made.mkdir(parents=True)
        (self._decoys / "file").write_text('{"a": 1}\nunfinished')
        (self._decoys / "folder" / "config.toml").write_text("seed = 1\n")
        (self._home / ".bashrc").write_text("true\n")
        os.environ["HOME"] = str(self._home)
        os.environ["SMASH_CACHE"] = str(folder / "cache")
        os.environ["TMPDIR"] = str(self._home / "temporary")
        tempfile.tempdir = None
        if good:
            shutil.copytree(good, self._good)
        else:
            make_run(self._good)
            correlate(Run.open(self._good), train=3, epochs=1, device="cpu")
        self.tallies = {name: Tally(name) for name in COMMANDS}
        os.chdir(self._home)
        shutil.copytree(self._good, self._run)
        for line in COMMANDS.values():  # imports what they need
            run_command(self._arguments(line), self._log)

    def _arguments(self, line: str) -> list[str]:
        children = self._run / "children"
        paths = sorted(children.iterdir()) if children.is_dir() else []
        child = next((path for path in paths if "audit" not in path.name), children / "none")
        return [
            part.replace("RUN", str(self._run)).replace("CHILD", str(child))
            for part in line.split()
        ]

    def run(self, numbers: Sequence[int]) -> Iterator[str]:
        """Alters run folders and runs commands on them; yields the faults."""
        at = 0
        while at < len(numbers):
            last: int | None = None
            for number, name, outcome in self._in_a_process(numbers[at : at + _BATCH]):
                tally = self.tallies[name]
                tally.folders += 1
                if outcome in ("done", "refused", "interrupted"):
                    setattr(tally, outcome, getattr(tally, outcome) + 1)
                else:
                    tally.faults.append(f"folder {number}: {outcome}")
                    yield f"{name}: {tally.faults[-1]}"
                last = number
            if last is None:
                raise RuntimeError(f"the trial failed at folder {numbers[at]}")
            at = numbers.index(last) + 1  # after the folder at which the process died, if it did

    def _in_a_process(self, numbers: Sequence[int]) -> Iterator[tuple[int, str, str]]:
        """Tries folders in a forked process; yields numbers, commands and how those ended."""
        receiving, sending = Pipe(duplex=False)
        process = os.fork()
        if process == 0:
            try:
                limit_memory()
                for number in numbers:
                    for name, outcome in self._try(number):
                        sending.send((number, name, outcome))
            except BaseException:
                traceback.print_exc()  # of the trial itself
            finally:
                os._exit(0)
        sending.close()
        begun: tuple[int, str] | None = None
        while receiving.poll(2 * (_SECONDS + _PROMPT)):
            try:
                number, name, outcome = receiving.recv()
            except EOFError:
                break
            begun = (number, name) if outcome == "begun" else None
            if begun is None:
                yield number, name, outcome
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        if begun is not None:
            yield *begun, "it hangs, or its process died"

    def _try(self, number: int) -> Iterator[tuple[str, str]]:
        """Alters one run folder and runs two commands; yields their names and how they ended."""
        draw = random.Random(f"{self._seed} {number}")  # noqa: S311 # alterations, not secrets
        shutil.rmtree(self._run, ignore_errors=True)
        shutil.copytree(self._good, self._run)
        change = alter_run(self._run, self._decoys, draw)
        before = self._outside()
        for name in (draw.choice(list(READING)), *draw.choices(list(WORKING), _OFTEN)):
            yield name, "begun"
            code, by_itself = run_command(self._arguments(COMMANDS[name]), self._log)
            fault = judge(code, by_itself, self._log.read_text(errors="backslashreplace"))
            after = self._outside()
            if after != before:
                odd = sorted(key for key in {*after, *before} if after.get(key) != before.get(key))
                fault, before = f"outside the run folder: {', '.join(odd)}", after
            if fault:
                yield name, f"{change}: {fault}"
            elif not by_itself:
                yield name, "interrupted"
            else:
                yield name, "refused" if code else "done"

    def _outside(self) -> dict[str, str]:
        places = (self._decoys, self._home, self._good)
        found = {key: value for place in places for key, value in watch(place).items()}
        found["beside the run"] = str(sorted(self._run.parent.iterdir()))
        return found


def main() -> None:
    """Alters run folders and prints a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folders", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first folder")
    parser.add_argument("--run", type=Path, help="a run that was made before")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the counts, as JSON")
    options = parser.parse_args()
    out = options.out and options.out.absolute()  # the trial works in a folder of its own
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        trial = Trial(Path(folder), options.seed, options.run and options.run.absolute())
        print(f"ready after {time.monotonic() - begun:.0f} s", flush=True)
        for fault in trial.run(range(options.first, options.first + options.folders)):
            print(fault, flush=True)
    tallies = trial.tallies.values()
    for tally in tallies:
        print(
            f"{tally.command}: {tally.folders:,} folders, {tally.done:,} done, "
            f"{tally.refused:,} refused, {tally.interrupted:,} interrupted, "
            f"{len(tally.faults)} faults"
        )
    if out:
        out.write_text(json.dumps([asdict(tally) for tally in tallies], indent=1) + "\n")
    sys.exit(any(tally.faults for tally in tallies))


if __name__ == "__main__":
    main()
