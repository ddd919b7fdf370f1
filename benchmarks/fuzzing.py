"""Feeds damaged and hostile files to all that reads files: each must be read, or refused in words.

    python -m benchmarks.fuzzing --inputs 100000 --reader journal

A good file is altered at random: bits, pieces, whole values of another kind, numbers beyond all
bounds, nesting without end. What a reader may do is to return or to raise `SmashError`; any other
error, the end of its process, more than ten seconds or more than 4 GiB is a crash, and the input
that caused it is kept. Each input follows from the seed and its number alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.altering import alter
from benchmarks.readers import Reader, make_run, readers
from smash.errors import SmashError

_SECONDS = 10
_BYTES = 4 * 2**30  # beside what the program itself maps


@dataclass
class Tally:
    """What became of the inputs of one reader."""

    reader: str
    inputs: int = 0
    read: int = 0
    refused: int = 0
    crashes: list[str] = field(default_factory=list)


class TooSlow(BaseException):
    """A reader that takes too long; not an `Exception`, which readers may put into words."""


def fuzz(
    name: str, reader: Reader, folder: Path, inputs: int, seed: int = 0, first: int = 0
) -> Tally:
    """Feeds inputs to a reader.

    Args:
        name: Its name.
        reader: The reader.
        folder: Where inputs are written to.
        inputs: How many.
        seed: Seed of what is altered.
        first: Number of the first one.
    """
    tally, path = Tally(name), folder / f"{name}-input"
    for content in reader.good:
        path.write_bytes(content)
        reader.read(path)  # it is good indeed
    before = signal.signal(signal.SIGALRM, _too_slow)
    try:
        for number in range(first, first + inputs):
            draw = random.Random(f"{name} {seed} {number}")  # noqa: S311 # inputs, not secrets
            content = draw.choice(reader.good)
            if reader.shape and draw.random() < 0.5:
                content = reader.shape(content, draw)
            else:
                content = alter(content, draw)
            path.unlink()  # a reader before may have mapped it
            path.write_bytes(content)
            signal.setitimer(signal.ITIMER_REAL, _SECONDS)
            tally.inputs += 1
            try:
                reader.read(path)
                tally.read += 1
            except SmashError:
                tally.refused += 1
            except BaseException as error:  # whatever it is, it is a crash
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


def fuzz_apart(
    name: str, reader: Reader, folder: Path, inputs: int, seed: int = 0, first: int = 0
) -> Tally:
    """As `fuzz` does, in a process that may be lost and may not have all of the memory."""
    context = multiprocessing.get_context("fork")  # a reader cannot be sent to another process
    receiving, sending = context.Pipe(duplex=False)

    def work(sending: Connection) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + _BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        sending.send(fuzz(name, reader, folder, inputs, seed, first))

    process = context.Process(target=work, args=(sending,))
    process.start()
    sending.close()
    try:
        tally: Tally = receiving.recv()
    except EOFError:  # it ended without a word
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
    given = parser.parse_args()
    failed = False
    memory = Path("/dev/shm")  # noqa: S108 # the folder in it has a name of its own
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        folder = Path(made)
        make_run(folder / "run")
        found = readers(folder)
        for name in given.reader or found:
            begun = time.perf_counter()
            tally = fuzz_apart(name, found[name], folder, given.inputs, given.seed, given.first)
            print(
                f"{name}: {tally.inputs:,} inputs, {tally.read:,} read, {tally.refused:,} refused, "
                f"{len(tally.crashes)} crashes, {time.perf_counter() - begun:.0f} s",
                flush=True,
            )
            print("".join(f"  {line}\n" for line in tally.crashes[:20]), end="", flush=True)
            failed |= bool(tally.crashes)
        if given.keep:
            given.keep.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("crash-*"):
                shutil.copy(path, given.keep)
    sys.exit(failed)


if __name__ == "__main__":
    main()
