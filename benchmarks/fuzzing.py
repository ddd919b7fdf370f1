"""Feeds damaged and hostile files to each reader, which must read them or refuse them.

    python -m benchmarks.fuzzing --inputs 100000 --out benchmarks/results/fuzzing.json

A good file is altered at random: bits, pieces, values of another kind, numbers beyond all bounds,
endless nesting. A reader may return or raise `SmashError`; any other error, the end of its process,
more than ten seconds or more than 4 GiB is a crash, and the input that caused it is kept. An input
follows from the seed and its number alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.altering import alter
from benchmarks.readers import Reader, make_run, readers
from smash.errors import SmashError

_SECONDS = 10
_BYTES = 4 * 2**30  # beside what the program itself maps


@dataclass
class Tally:
    """Counts what became of the inputs of one reader."""

    reader: str
    inputs: int = 0
    read: int = 0
    refused: int = 0
    crashes: list[str] = field(default_factory=list)


class TooSlow(BaseException):
    """Raised when a reader takes too long; no `Exception`, which readers may turn into errors."""


def fuzz(
    name: str, reader: Reader, folder: Path, inputs: int, seed: int = 0, first: int = 0
) -> Tally:
    """Feeds inputs to a reader.

    Args:
        name: Name of the reader.
        reader: The reader.
        folder: Folder that inputs are written to.
        inputs: Number of inputs.
        seed: Seed of the alterations.
        first: Number of the first input.
    """
    tally, path = Tally(name), folder / f"{name}-input"
    for content in reader.good:
        path.write_bytes(content)
        reader.read(path)  # must succeed
    before = signal.signal(signal.SIGALRM, _too_slow)
    try:
        for number in range(first, first + inputs):
            draw = random.Random(f"{name} {seed} {number}")  # noqa: S311 # inputs, not secrets
            content = draw.choice(reader.good)
            if reader.shape and draw.random() < 0.5:
                content = reader.shape(content, draw)
            else:
                content = alter(content, draw)
            path.unlink()  # an earlier reader may have mapped it
            path.write_bytes(content)
            signal.setitimer(signal.ITIMER_REAL, _SECONDS)
            tally.inputs += 1
            try:
                reader.read(path)
                tally.read += 1
            except SmashError:
                tally.refused += 1
            except BaseException as error:  # any other error is a crash
                if isinstance(error, KeyboardInterrupt):
                    raise
                signal.setitimer(signal.ITIMER_REAL, 0)
                where = traceback.extract_tb(error.__traceback__)[-1]
                tally.crashes.append(
                    f"{name} {number}: {type(error).__name__}: {str(error)[:200]} "
                    f"({Path(where.filename).name}:{where.lineno})"
                )
                (folder / f"crash-{name}-{number}").write_bytes(content)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    return tally


def _too_slow(number: int, frame: object) -> None:
    raise TooSlow(f"more than {_SECONDS} seconds")


def limit_memory() -> None:
    """Limits what this process may map to 4 GiB more than it has mapped."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def fuzz_apart(
    name: str, reader: Reader, folder: Path, inputs: int, seed: int = 0, first: int = 0
) -> Tally:
    """Runs `fuzz` in a process of its own with limited memory."""
    context = multiprocessing.get_context("fork")  # a reader cannot be sent to another process
    receiving, sending = context.Pipe(duplex=False)

    def work(sending: Connection) -> None:
        limit_memory()
        sending.send(fuzz(name, reader, folder, inputs, seed, first))

    process = context.Process(target=work, args=(sending,))
    process.start()
    sending.close()
    try:
        tally: Tally = receiving.recv()
    except EOFError:  # the process died
        process.join()
        path = folder / f"crash-{name}-last"
        shutil.copy(folder / f"{name}-input", path)
        return Tally(name, crashes=[f"{name}: its process ended with {process.exitcode}: {path}"])
    process.join()
    return tally


def main() -> None:
    """Feeds all readers and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs a reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="append", help="only these readers; repeatable")
    parser.add_argument("--keep", type=Path, help="folder for inputs that crash a reader")
    parser.add_argument("--out", type=Path, help="file for the counts, as JSON")
    options = parser.parse_args()
    tallies = []
    memory = Path("/dev/shm")  # noqa: S108 # the folder in it has a name of its own
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        folder = Path(made)
        make_run(folder / "run")
        found = readers(folder)
        for name in options.reader or found:
            begun = time.perf_counter()
            tally = fuzz_apart(
                name, found[name], folder, options.inputs, options.seed, options.first
            )
            print(
                f"{name}: {tally.inputs:,} inputs, {tally.read:,} read, {tally.refused:,} refused, "
                f"{len(tally.crashes)} crashes, {time.perf_counter() - begun:.0f} s",
                flush=True,
            )
            print("".join(f"  {line}\n" for line in tally.crashes[:20]), end="", flush=True)
            tallies.append(tally)
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("crash-*"):
                shutil.copy(path, options.keep)
    if options.out:
        options.out.write_text(json.dumps([asdict(tally) for tally in tallies], indent=1) + "\n")
    sys.exit(any(tally.crashes for tally in tallies))


if __name__ == "__main__":
    main()
