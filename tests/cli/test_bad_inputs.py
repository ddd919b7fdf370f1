"""Damaged, foreign and hostile inputs, by way of the commands: refused in a line, nothing changed.

Wrong flags and settings are in ``test_cli.py``; here are files. Exit code 2 says that the input
cannot be used, 1 that the world failed.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smash.io.locks import hold
from smash.io.records import Interval
from smash.io.tensors import load_tensors, save_tensors
from smash.study.study import Study
from tests.answers import content
from tests.reporting.made import trust

MORE = "--random 5 --perturb 1 --markov 1 --device cpu"  # more than was done
SEARCH = f"search RUN {MORE}"
SHOW = "show RUN"
RETRAIN = "retrain RUN --rank 1 --epochs 1 --device cpu"
RESUME = "train --out RUN --resume"
EVALUATE = "evaluate CHILD --device cpu"
TABLE = "correlate RUN --table DATA --column y --device cpu"
TRAIN = "train DATA --space memory-bank --preset tiny -o depth=1 --epochs 1 --device cpu --out OUT"
CHECK = "data check DATA"

CONFIG, NETWORK, STATE = "config.toml", "network.safetensors", "state.safetensors"
JOURNAL, METRICS = "study.journal", "metrics.jsonl"
TRUST = trust(Interval(value=0.5, low=0.25, high=0.75)).model_dump(mode="json")
ABOUT, MODEL, RESULT = "architecture.json", "model.safetensors", "result.json"


class Place:
    """Where an input is damaged: a copy of a finished run, its child, and a place for data."""

    def __init__(self, folder: Path, finished: Path) -> None:
        self.folder = folder
        self.run = Path(shutil.copytree(finished, folder / "run"))
        (self.child,) = (self.run / "children").iterdir()
        self.data = folder / "data"
        self.out = folder / "out"
        self.held = ExitStack()

    def file(self, name: str) -> Path:
        """A file of the run, or of its child."""
        return (self.child if name in (ABOUT, MODEL, RESULT) else self.run) / name

    def unfinished(self) -> None:
        """Takes the trained network away, as if training had not ended."""
        self.file(NETWORK).unlink()


Damage = Callable[[Place], object]


def put(name: str, text: str | bytes) -> Damage:
    """Replaces a file."""
    data = text if isinstance(text, bytes) else text.encode()
    return lambda place: place.file(name).write_bytes(data)


def cut(name: str, size: int) -> Damage:
    """Cuts a file off; a negative size counts from its end."""
    return lambda place: place.file(name).write_bytes(place.file(name).read_bytes()[:size])


def flip(name: str, at: int = -9) -> Damage:
    """Flips a bit of a file."""

    def damage(place: Place) -> None:
        data = bytearray(place.file(name).read_bytes())
        data[at] ^= 16
        place.file(name).write_bytes(data)

    return damage


def swap(name: str, old: str, new: str) -> Damage:
    """Replaces some text of a file."""

    def damage(place: Place) -> None:
        text = place.file(name).read_text()
        assert old in text
        place.file(name).write_text(text.replace(old, new, 1))

    return damage


def say(name: str, **said: object) -> Damage:
    """Changes what a JSON object says; None takes an entry away."""

    def damage(place: Place) -> None:
        value = {**json.loads(place.file(name).read_text()), **said}
        kept = {key: each for key, each in value.items() if each is not None}
        place.file(name).write_text(json.dumps(kept))

    return damage


def folder(name: str) -> Damage:
    """Puts a folder where a file belongs."""

    def damage(place: Place) -> None:
        place.file(name).unlink()
        place.file(name).mkdir()

    return damage


def huge(name: str) -> Damage:
    """Makes a file far larger than such files are."""
    return lambda place: os.truncate(place.file(name), 2**26 + 1)


def first(*damages: Damage) -> Damage:
    """Does one after the other."""
    return lambda place: [damage(place) for damage in damages]


def nothing(place: Place) -> None:
    """All is well; the command itself is wrong."""


def unfinished(place: Place) -> None:
    place.unfinished()


def other_network(name: str) -> Damage:
    """Puts tensors of another network into a file."""

    def damage(place: Place) -> None:
        tensors, about = load_tensors(place.file(name))
        save_tensors(place.file(name), dict(list(tensors.items())[1:]), about)

    return damage


def other_state(**said: object) -> Damage:
    """Changes what a checkpoint says of itself."""

    def damage(place: Place) -> None:
        place.unfinished()
        tensors, about = load_tensors(place.file(STATE))
        save_tensors(place.file(STATE), tensors, {**about, **said})

    return damage


def gone_state(place: Place) -> None:
    """A checkpoint that is gone, though several epochs were trained."""
    place.unfinished()
    place.file(STATE).unlink()
    rows = [{"step": step, "epoch": step, "train_loss": 1.0} for step in (1, 2)]
    place.file(METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))


def lines(*, number: int, old: str, new: str) -> Damage:
    """Changes one line of the journal."""

    def damage(place: Place) -> None:
        kept = place.file(JOURNAL).read_text().splitlines(keepends=True)
        assert old in kept[number]
        kept[number] = kept[number].replace(old, new, 1)
        place.file(JOURNAL).write_text("".join(kept))

    return damage


def joined(place: Place) -> None:
    """Two lines of the journal that run into each other, as after a kill without mending."""
    kept = place.file(JOURNAL).read_bytes().splitlines(keepends=True)
    kept[3] = kept[3][:40]
    place.file(JOURNAL).write_bytes(b"".join(kept))


def of_cells(place: Place) -> None:
    """A candidate of another search space, well formed."""
    study = Study(place.file(JOURNAL), create=True)
    (one, *_) = study.candidates()
    from dataclasses import replace

    study.add(replace(one, id="other", index=9, architecture={"cell": "|none~0|"}), {})


def holding(work: str, *, child: bool = False) -> Damage:
    """Another worker is at the same."""

    def damage(place: Place) -> None:
        if work == "train":
            place.unfinished()
        if child:
            place.file(RESULT).unlink()
        place.held.enter_context(hold(place.child if child else place.run, work))

    return damage


def table(text: str | bytes) -> Damage:
    """A table of accuracies."""
    data = text if isinstance(text, bytes) else text.encode()
    return lambda place: place.data.write_bytes(data)


def npz(**members: bytes) -> Damage:
    """An archive of files; ``__`` in a name stands for ``/``, ``_up`` for ``..``."""

    def damage(place: Place) -> None:
        place.data = place.data.with_suffix(".npz")
        with zipfile.ZipFile(place.data, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name.replace("__", "/").replace("_up", ".."), data)

    return damage


def npy(array: object) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(array), allow_pickle=True)
    return out.getvalue()


def announced(shape: tuple[int, ...]) -> bytes:
    """An array whose header promises more than is there."""
    out = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + bytes(64)


GOOD = {"data.npy": npy(np.zeros((20, 8, 8), np.uint8)), "labels.npy": npy(np.arange(20) % 2)}


class _Runs:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("ran",)


def bomb(place: Place) -> None:
    """An archive that says that it unpacks to more than any memory."""
    npz(**GOOD)(place)
    data = bytearray(place.data.read_bytes())
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<L", data, entry + 24, 0xFFFFFFF0)  # its size, unpacked
    place.data.write_bytes(data)


def twice(place: Place) -> None:
    npz(**GOOD)(place)
    with zipfile.ZipFile(place.data, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("data.npy", GOOD["data.npy"])


def packed_otherwise(place: Place) -> None:
    place.data = place.data.with_suffix(".npz")
    with zipfile.ZipFile(place.data, "w", zipfile.ZIP_LZMA) as archive:
        for name, data in GOOD.items():
            archive.writestr(name, data)


def images(**files: bytes) -> Damage:
    """A folder of two classes with some good images each, and other files among them."""

    def damage(place: Place) -> None:
        good = picture((8, 8))
        for name in ("cat", "dog"):
            (place.data / name).mkdir(parents=True)
            for number in range(4):
                (place.data / name / f"{number}.png").write_bytes(good)
        for name, data in files.items():
            (place.data / "cat" / name).write_bytes(data)

    return damage


def picture(size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "red").save(out, "PNG")
    return out.getvalue()


def absurd(size: tuple[int, int]) -> bytes:
    """A PNG that says that it has so many pixels."""
    data = bytearray(picture((8, 8)))
    data[16:24] = struct.pack(">LL", *size)
    import zlib

    data[29:33] = struct.pack(">L", zlib.crc32(data[12:29]))
    return bytes(data)


def looped(place: Place) -> None:
    images()(place)
    (place.data / "cat" / "9.png").symlink_to(place.data / "cat" / "9.png")


def no_table(place: Place) -> None:
    place.data.mkdir()
    (place.data / "train.parquet").write_bytes(b"PAR1")


def beside(suffix: str, data: bytes) -> Damage:
    """A file called DATA with a suffix."""
    return lambda place: place.data.with_suffix(suffix).write_bytes(data)


DEEP = "[" * 100_000
ROW = '{"blocks": []}'.replace('"', '""')

# By name: the damage, the command, its exit code, and what the lines name.
ROWS: dict[str, tuple[Damage, str, int, tuple[str, ...]]] = {
    # The settings of a run.
    "config empty": (put(CONFIG, ""), SHOW, 2, (CONFIG, "is missing")),
    "config is no text": (put(CONFIG, b"\xff\xfe\0"), SEARCH, 2, (CONFIG, "damaged")),
    "config nested": (put(CONFIG, "a = " + DEEP), SEARCH, 2, (CONFIG, "damaged")),
    "config huge": (huge(CONFIG), RETRAIN, 2, (CONFIG, "at most")),
    "config a folder": (folder(CONFIG), SEARCH, 2, (CONFIG, "regular file")),
    "config other kind": (swap(CONFIG, "seed = 0", "seed = []"), SHOW, 2, (CONFIG, "seed")),
    "config self": (swap(CONFIG, "seed = 0", "self = 0"), SHOW, 2, (CONFIG, "'self'")),
    "config of no space": (swap(CONFIG, "memory-bank", "memories"), SEARCH, 2, ("'memories'",)),
    "config of no preset": (swap(CONFIG, '"tiny"', '"tinny"'), SEARCH, 2, ("'tinny'",)),
    "config without bounds": (
        swap(CONFIG, "depth = 1", "depth = 9999999999"),
        SEARCH,
        2,
        ("depth", "9999999999"),
    ),
    "data of a run gone": (swap(CONFIG, '"digits"', '"/no/x.npz"'), SEARCH, 2, ("/no/x.npz",)),
    "data of a run altered": (
        swap(CONFIG, "fingerprint = ", 'fingerprint = "x" #'),
        SEARCH,
        2,
        ("digits", "changed"),
    ),
    # The SMASH network.
    "network cut": (cut(NETWORK, -1), SEARCH, 2, (NETWORK, "damaged")),
    "network with a bit flipped": (flip(NETWORK), SEARCH, 2, (NETWORK, "checksum")),
    "network with its header flipped": (flip(NETWORK, 3), SEARCH, 2, (NETWORK, "damaged")),
    "network a text": (put(NETWORK, "hello"), SEARCH, 2, (NETWORK, "damaged")),
    "network a pickle": (put(NETWORK, b"\x80\x04N."), SEARCH, 2, (NETWORK, "damaged")),
    "network of a huge header": (
        put(NETWORK, b"\xff" * 8 + b"{}"),
        SEARCH,
        2,
        (NETWORK, "damaged"),
    ),
    "network of another": (other_network(NETWORK), SEARCH, 2, (NETWORK, "does not fit")),
    "network a folder": (folder(NETWORK), SEARCH, 2, ("has not finished training",)),
    # What a training goes on from.
    "state cut": (first(unfinished, cut(STATE, 99)), RESUME, 2, (STATE, "damaged")),
    "state with a bit flipped": (first(unfinished, flip(STATE)), RESUME, 2, (STATE, "checksum")),
    "state of another": (
        first(unfinished, other_network(STATE)),
        RESUME,
        2,
        (STATE, "does not fit"),
    ),
    "state without a step": (other_state(step=None), RESUME, 2, (STATE, "step")),
    "state beyond the end": (other_state(step=10**9), RESUME, 2, (STATE, "1000000000")),
    "state of other processes": (other_state(loss_sums=[]), RESUME, 2, (STATE,)),
    "state gone": (gone_state, RESUME, 2, (STATE, "is missing")),
    "state a folder": (first(unfinished, folder(STATE)), RESUME, 2, (STATE,)),
    "curves damaged": (
        first(unfinished, put(METRICS, "{\n{}\n")),
        RESUME,
        2,
        (METRICS, "line 1"),
    ),
    # The study.
    "journal of nothing": (put(JOURNAL, ""), SHOW, 2, ("no candidates",)),
    "journal a folder": (folder(JOURNAL), SHOW, 2, ("no candidates",)),
    "journal of zeros": (put(JOURNAL, bytes(99) + b"\n\n"), SHOW, 2, (JOURNAL, "damaged")),
    "journal nested": (put(JOURNAL, DEEP + "\n\n"), RETRAIN, 2, (JOURNAL, "damaged")),
    "journal with lines joined": (joined, SEARCH, 2, (JOURNAL, "damaged")),
    "journal without a value": (
        lines(number=3, old='"error"', new='"eror"'),
        SHOW,
        2,
        (JOURNAL, "error"),
    ),
    "journal with a word for a number": (
        lines(number=3, old='"loss":', new='"loss":"low","x":'),
        SEARCH,
        2,
        (JOURNAL, "loss"),
    ),
    "journal with another space": (of_cells, SEARCH, 2, ("not an architecture",)),
    "journal for correlate": (
        put(JOURNAL, "x\n\n"),
        "correlate RUN --train 3 --epochs 1",
        2,
        (JOURNAL, "damaged"),
    ),
    # A child.
    "child no JSON": (put(ABOUT, "{"), EVALUATE, 2, (ABOUT, "damaged")),
    "child a list": (put(ABOUT, "[]"), EVALUATE, 2, (ABOUT, "object")),
    "child nested": (put(ABOUT, DEEP), EVALUATE, 2, (ABOUT, "damaged")),
    "child huge": (huge(ABOUT), EVALUATE, 2, (ABOUT, "at most")),
    "child without an id": (say(ABOUT, id=None), EVALUATE, 2, (ABOUT, "id is missing")),
    "child of an endless input": (say(ABOUT, channels=2**70), EVALUATE, 2, (ABOUT, "channels")),
    "child of nothing": (
        say(ABOUT, architecture={"blocks": []}),
        EVALUATE,
        2,
        ("3 blocks",),
    ),
    "child of an unknown network": (
        say(ABOUT, architecture=None, baseline="resnet19"),
        EVALUATE,
        2,
        ("resnet19",),
    ),
    "child's weights cut": (cut(MODEL, 200), EVALUATE, 2, (MODEL, "damaged")),
    "child's weights flipped": (flip(MODEL), EVALUATE, 2, (MODEL, "checksum")),
    "child's weights of another": (other_network(MODEL), EVALUATE, 2, (MODEL, "does not fit")),
    "child's weights gone": (lambda place: place.file(MODEL).unlink(), EVALUATE, 1, (MODEL,)),
    "child's result no JSON": (
        put(RESULT, "x"),
        "retrain RUN --finalists 2 --epochs 2 --device cpu",
        2,
        (RESULT, "damaged"),
    ),
    "child's result a number": (
        put(RESULT, '{"val": 1}'),
        "retrain RUN --finalists 2 --epochs 2 --device cpu",
        2,
        (RESULT, "val"),
    ),
    "child that leads out": (
        nothing,
        f"{RETRAIN} --name ../../../out",
        2,
        ("../../../out", "leave out slashes"),
    ),
    "child in a folder": (nothing, f"{RETRAIN} --name a/b", 2, ("a/b",)),
    "child of dots": (nothing, f"{RETRAIN} --name ..", 2, ("'..'",)),
    # Someone else is at it.
    "search at once": (holding("search"), SEARCH, 2, ("in use", "smash search")),
    "training at once": (holding("train"), RESUME, 2, ("in use", "smash train")),
    "retraining at once": (
        holding("retrain", child=True),
        "retrain RUN --epochs 1 --device cpu",
        2,
        ("in use", "smash retrain"),
    ),
    # Tables of accuracies.
    "table empty": (table(""), TABLE, 2, ("'architecture'",)),
    "table without rows": (table("architecture,y\n"), TABLE, 2, ("no rows",)),
    "table no text": (table(b"\xff\xfea\0"), TABLE, 2, ("UTF-8",)),
    "table of other columns": (table("architecture,x\na,1\n"), TABLE, 2, ("'y'",)),
    "table of a word": (table(f'architecture,y\n"{ROW}",high\n'), TABLE, 2, ("'high'", "line 2")),
    "table of nan": (table(f'architecture,y\n"{ROW}",nan\n'), TABLE, 2, ("finite", "line 2")),
    "table of no architecture": (table("architecture,y\nx,1\n"), TABLE, 2, ("'x'", "line 2")),
    "table nested": (table(f"architecture,y\n{DEEP},1\n"), TABLE, 2, ("line 2",)),
    "table of a huge field": (table(f"architecture,y\n{'x' * 200_000},1\n"), TABLE, 2, ("CSV",)),
    "table a folder": (lambda place: place.data.mkdir(), TABLE, 2, ("is not a file",)),
    # Data.
    "archive that leads out": (npz(**GOOD, _up__x=b""), TRAIN, 2, ("lead out", "../x")),
    "archive with a name twice": (twice, TRAIN, 2, ("data.npy", "more than once")),
    "archive packed otherwise": (packed_otherwise, TRAIN, 2, ("data.npy", "deflated")),
    "archive that is a bomb": (bomb, TRAIN, 2, ("data.npy", "4,294,967,280")),
    "archive that runs code": (
        npz(**{**GOOD, "data.npy": npy(np.array([_Runs()] * 20, dtype=object))}),
        TRAIN,
        2,
        ("data", "Python objects"),
    ),
    "archive of empty promises": (
        npz(**{**GOOD, "data.npy": announced((10**12, 8, 8))}),
        TRAIN,
        2,
        ("data", "64,000,000,000,"),
    ),
    "archive cut": (
        first(npz(**GOOD), lambda place: os.truncate(place.data, 200)),
        TRAIN,
        2,
        ("is not an .npz archive",),
    ),
    "archive that is a text": (
        lambda place: place.data.write_text("data"),
        CHECK,
        2,
        (),
    ),
    "image of a billion pixels": (
        images(**{"9.png": absurd((40_000, 40_000))}),
        TRAIN,
        2,
        ("9.png",),
    ),
    "image of 4 billion a side": (
        images(**{"9.png": absurd((2**31, 2**31))}),
        TRAIN,
        2,
        ("9.png",),
    ),
    "image cut": (images(**{"9.png": picture((8, 8))[:50]}), TRAIN, 2, ("9.png",)),
    "image of nothing": (images(**{"9.png": b""}), TRAIN, 2, ("9.png",)),
    "image that is PostScript": (images(**{"9.png": b"%!PS-Adobe-3.0\n"}), TRAIN, 2, ("9.png",)),
    "table of images that is none": (no_table, TRAIN, 2, ("data",)),
    # What is shipped, and what it is asked of.
    "export of cut weights": (
        cut(MODEL, 200),
        "export CHILD --to OUT.safetensors",
        2,
        (MODEL, "damaged"),
    ),
    "export over a file": (
        beside(".safetensors", b"kept"),
        "export CHILD --to DATA.safetensors",
        2,
        ("data.safetensors", "--force"),
    ),
    "export of no format": (nothing, "export CHILD --to OUT.pt", 2, ("out.pt", ".onnx")),
    "model that is a pickle": (
        beside(".safetensors", b"\x80\x04N."),
        "predict DATA.safetensors RUN/config.toml",
        2,
        ("data.safetensors",),
    ),
    "model of another program": (
        beside(".safetensors", struct.pack("<Q", 2) + b"{}"),
        "predict DATA.safetensors RUN/config.toml",
        2,
        ("data.safetensors",),
    ),
    "model whose child is damaged": (
        flip(MODEL),
        "predict CHILD RUN/config.toml",
        2,
        (MODEL, "checksum"),
    ),
    "array of objects to predict": (
        beside(".npy", npy(np.array([_Runs()], dtype=object))),
        "predict CHILD DATA.npy",
        2,
        ("data.npy", "plain array"),
    ),
    "array of promises to predict": (
        beside(".npy", announced((10**12, 1, 8, 8))),
        "predict CHILD DATA.npy",
        2,
        ("data.npy", "cannot be read"),
    ),
    "image of a billion pixels to predict": (
        beside(".png", absurd((40_000, 40_000))),
        "predict CHILD DATA.png",
        2,
        ("data.png",),
    ),
    "report of a damaged study": (put(JOURNAL, "x\n\n"), "report RUN", 2, (JOURNAL, "damaged")),
    "report of a child that is none": (put(ABOUT, "{}"), "report RUN", 2, (ABOUT, "id is missing")),
    "report of a result that is none": (
        put(RESULT, '{"val": 1}'),
        "report RUN",
        2,
        (RESULT, "val"),
    ),
    "report of a trust that is none": (
        put("trust.json", json.dumps({**TRUST, "n": "three", "baselines": {"params": 1}})),
        "report RUN",
        2,
        ("trust.json", "n must be", "baselines.params", "smash correlate"),
    ),
    "report of damaged curves": (put(METRICS, "{\n{}\n"), "report RUN", 2, (METRICS, "line 1")),
    # The world.
    "a file in the way": (
        lambda place: place.out.write_text("kept"),
        "train digits --preset tiny -o depths=1 --epochs 1 --device cpu --out OUT/run",
        1,
        ("out/run",),
    ),
    "a name too long": (
        nothing,
        f"train digits --preset tiny --epochs 1 --device cpu --out OUT{'x' * 300}",
        1,
        ("too long",),
    ),
    "a loop of links": (
        lambda place: place.out.symlink_to(place.out),
        "train digits --space memory-bank --preset tiny --epochs 1 --device cpu --out OUT",
        2,
        ("already exists",),
    ),
}


def test_there_are_many():
    assert len(ROWS) >= 60


@pytest.mark.parametrize(("damage", "line", "code", "named"), ROWS.values(), ids=ROWS)
def test_it_is_refused_in_a_line_and_nothing_changes(
    command, finished, tmp_path, monkeypatch, damage, line, code, named
):
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path, finished)
    damage(place)
    words = {"RUN": place.run, "CHILD": place.child, "DATA": place.data, "OUT": place.out}
    argv = line.split()
    for word, path in words.items():
        argv = [part.replace(word, str(path)) for part in argv]
    before = content(tmp_path)

    with place.held:
        answer = command(*argv)
        after = content(tmp_path)

    assert answer.code == code, answer
    assert "Traceback" not in answer.out + answer.err
    said = answer.faults or [line for line in answer.out.splitlines() if line.startswith("fault: ")]
    assert said, answer
    assert all(line.startswith(("smash: ", "fault: ")) for line in said)
    assert all(len(line) < 1000 for line in said)
    for word in named:
        assert word in "\n".join(said)
    assert after == before
