"""Feeds damaged and hostile files to all that reads files: each must be read, or refused in words.

    python benchmarks/fuzzing.py --inputs 100000 --reader journal

A good file is altered at random: bits, pieces, whole values of another kind, numbers beyond all
bounds, nesting without end. What a reader may do is to return or to raise `SmashError`; any other
error, more than ten seconds or more than 4 GiB is a crash, and the input that caused it is kept.
Each input follows from the seed and its number alone.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import tomllib
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from PIL import Image
from torch import nn

import smash
from smash.auditing import read_table
from smash.children import Child
from smash.data.archive import read_archive
from smash.data.images import examine, picture_file
from smash.errors import SmashError
from smash.layout import find_run
from smash.ledger import Ledger
from smash.run import Checkpoint, MetricsLog
from smash.spaces import NasBench201Space, make_space
from smash.spaces.nas_bench_201 import NasBench201Options
from smash.study import Study

_SECONDS = 10
_BYTES = 4 * 2**30
_ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), -float("inf"), "", "a", "\0", "é", "../../x", "/etc/passwd"),
    *(
        "a" * 5000,
        [],
        {},
        [[]],
        [0] * 1000,
        {"": {}},
        {"self": 1},
        {"value": 1},
        [None],
        [1.5, "x"],
    ),
]
_TOKENS = [
    *(b"\0", b"\xff", b"\n", b"\r", b"\r\n", b",", b'"', b"'", b"=", b"[", b"]", b"{", b"}", b":"),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"\xef\xbb\xbf", b"#", b"\\"),
    *(b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"../", b"__class__", b"\x80\x04", b"\xf0\x9f"),
]


@dataclass
class Reader:
    """What is fed.

    Attributes:
        read: Reads a file.
        good: Contents that it reads.
        shape: Alters a value rather than bytes, where the format has values; None if it has none.
    """

    read: Callable[[Path], object]
    good: list[bytes]
    shape: Callable[[bytes, random.Random], bytes] | None = None


@dataclass
class Tally:
    """What became of the inputs of one reader."""

    reader: str
    inputs: int = 0
    read: int = 0
    refused: int = 0
    crashes: list[str] = field(default_factory=list)


def alter(content: bytes, draw: random.Random) -> bytes:
    """Alters bytes at one place or at a few."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            data += draw.choice(_TOKENS)
        at = draw.randrange(len(data))
        end = min(len(data), at + draw.choice((1, 2, 8, 40, 400)))
        kind = draw.randrange(8)
        if kind == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at] = draw.randrange(256)
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end]
        elif kind == 4:
            data[at:at] = draw.choice(_TOKENS)
        elif kind == 5:
            data[at:end] = draw.choice(_TOKENS)
        elif kind == 6:
            del data[at:]
        else:
            other = draw.randrange(len(data))
            data[at:end] = data[other : other + end - at]
    return bytes(data)


def alter_value(value: Any, draw: random.Random) -> Any:
    """Puts another kind of value somewhere into a value of JSON."""
    if draw.random() < 0.25 or not isinstance(value, dict | list) or not value:
        return draw.choice(_ODD)
    if isinstance(value, list):
        at = draw.randrange(len(value))
        if draw.random() < 0.2:
            return [*value[:at], *value[at + 1 :]]
        return [*value[:at], alter_value(value[at], draw), *value[at + 1 :]]
    key = draw.choice(sorted(value))
    if draw.random() < 0.2:
        return {name: each for name, each in value.items() if name != key}
    if draw.random() < 0.1:
        odd = draw.choice(_ODD)
        return {**value, odd if isinstance(odd, str) else "self": value[key]}
    return {**value, key: alter_value(value[key], draw)}


def _json(content: bytes, draw: random.Random) -> bytes:
    return json.dumps(alter_value(json.loads(content), draw)).encode()


def _lines(content: bytes, draw: random.Random) -> bytes:
    """Alters a value in one of several lines of JSON."""
    lines = content.splitlines(keepends=True)
    at = draw.randrange(len(lines))
    lines[at] = _json(lines[at], draw) + b"\n"
    return b"".join(lines)


def _toml(content: bytes, draw: random.Random) -> bytes:
    try:
        return tomli_w.dumps(alter_value(tomllib.loads(content.decode()), draw)).encode()
    except (TypeError, ValueError, AttributeError):  # TOML has no such value
        return alter(content, draw)


def _csv(content: bytes, draw: random.Random) -> bytes:
    """Alters a field."""
    rows = [line.split(b",") for line in content.splitlines()]
    row = draw.choice(rows)
    at = draw.randrange(len(row))
    row[at] = draw.choice((alter(row[at], draw), draw.choice(_TOKENS), b"", b"0.1", b"nan"))
    return b"\n".join(b",".join(row) for row in rows)


def _safetensors(content: bytes, draw: random.Random) -> bytes:
    """Alters the header, and what it says of itself, and mends its length."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    if draw.random() < 0.5:
        said = json.loads(header["__metadata__"]["about"])
        metadata = {"about": json.dumps(alter_value(said, draw))}  # without the checksum
        altered = json.dumps({**header, "__metadata__": metadata}).encode()
    else:
        altered = json.dumps(alter_value(header, draw)).encode()
    return struct.pack("<Q", len(altered)) + altered + content[8 + size :]


def _npz(content: bytes, draw: random.Random) -> bytes:
    """Alters one of the arrays within an archive that is right otherwise."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(out, "w") as made:
        names = given.namelist()
        wrong = draw.choice(names)
        for name in names:
            array = given.read(name)
            if name == wrong:
                head = alter(array[:128], draw)
                array = head + array[128:]
            made.writestr(name if draw.random() < 0.99 else "../" + name, array)
    return out.getvalue()


def make_run(path: Path) -> None:
    """Makes a run that has a bit of everything."""
    torch.set_num_threads(1)
    data = smash.load_data("digits")
    tiny = {"preset": "tiny", "options": {"depth": 1, "max_width": 16}, "device": "cpu"}
    run = smash.train(data, path, epochs=1, **tiny)
    smash.search(run, random=3, perturb=1, markov=1, device="cpu")
    smash.retrain(run, epochs=1, device="cpu")


def readers(folder: Path) -> dict[str, Reader]:
    """All readers, with files that they read.

    Args:
        folder: Has a run of digits, ``run``, with a study and one child; more is put there.
    """
    run = smash.Run.open(folder / "run")
    (path,) = (run.path / "children").iterdir()
    child = Child.open(path)
    cells = NasBench201Space(NasBench201Options())
    rng = np.random.default_rng(0)
    rows = [f"{cells.to_json(cells.sample(rng))['cell']},{n}.5" for n in range(8)]

    def toml(path: Path) -> None:
        shutil.copy(path, other / "config.toml")
        settings = find_run(other)
        make_space(settings.space, 2)

    def a_child(path: Path) -> None:
        shutil.copy(path, copied / "architecture.json")
        about = Child.open(copied).about
        run.space.from_json(about.get("architecture", {}))

    def result(path: Path) -> object:
        shutil.copy(path, judged / "result.json")
        return Child.open(judged).result

    def journal(path: Path) -> object:
        study = Study(path)
        return study.settings, study.ranked()

    def tensors(path: Path) -> object:
        module = nn.Linear(3, 2)
        optimizer = torch.optim.Adam(module.parameters())
        kinds = {"step": int, "scaler": dict}
        return Checkpoint(path).load(module, optimizer, **kinds)

    def images(path: Path) -> None:
        list(examine([picture_file(path)]))

    other, copied = folder / "other", folder / "run" / "children" / "copied"
    judged = folder / "run" / "children" / "judged"
    other.mkdir()
    shutil.copytree(child.path, copied)
    shutil.copytree(child.path, judged)
    ledger = Ledger(folder / "ledger.jsonl")
    for number in range(10):
        ledger.add("kind", str(number), {"x": number / 3, "y": float("nan")})
    return {
        "json": Reader(a_child, [(child.path / "architecture.json").read_bytes()], _json),
        "result": Reader(result, [(child.path / "result.json").read_bytes()], _json),
        "toml": Reader(toml, [(run.path / "config.toml").read_bytes()], _toml),
        "csv": Reader(
            lambda path: read_table(path, "accuracy", cells),
            ["\n".join(["architecture,accuracy", *rows, ""]).encode()],
            _csv,
        ),
        "journal": Reader(journal, [run.study_path.read_bytes()], _lines),
        "safetensors": Reader(tensors, [_checkpoint(folder / "state")], _safetensors),
        "npz": Reader(lambda path: read_archive(path, None, None), _archives(), _npz),
        "metrics": Reader(
            lambda path: MetricsLog(path).rows(), [run.metrics.path.read_bytes()], _lines
        ),
        "ledger": Reader(Ledger, [(folder / "ledger.jsonl").read_bytes()], _lines),
        "images": Reader(images, _images()),
    }


def _checkpoint(path: Path) -> bytes:
    module = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    Checkpoint(path).save(module, optimizer, {"step": 1, "scaler": {}, "best": [1, {"a": None}]})
    return path.read_bytes()


def _archives() -> list[bytes]:
    data = np.arange(10 * 16, dtype=np.uint8).reshape(10, 4, 4)
    found = []
    for save in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        save(out, data=data, labels=np.arange(10) % 2, classes=np.array(["a", "b"]))
        found.append(out.getvalue())
    return found


def _images() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    found = []
    for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, kind)
        found.append(out.getvalue())
    return found


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
    raise TimeoutError(f"more than {_SECONDS} seconds")


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
        resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
        for name in given.reader or found:
            begun = time.process_time()
            tally = fuzz(name, found[name], folder, given.inputs, given.seed, given.first)
            print(
                f"{name}: {tally.inputs:,} inputs, {tally.read:,} read, {tally.refused:,} refused, "
                f"{len(tally.crashes)} crashes, {time.process_time() - begun:.0f} s",
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
