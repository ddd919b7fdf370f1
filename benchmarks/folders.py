"""Gives random folders to `check_data`, which must read them or say what is wrong.

    python -m benchmarks.folders --trees 2000 --out benchmarks/results/folders.json

A folder follows from the seed and its number alone: names of classes, splits and none, files of all
formats and none, whole and damaged, of any size, nested, linked, and empty. Any error but a
`SmashError`, more than ten seconds, or a file written outside the cache is a crash.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.altering import alter
from smash.data import check_data
from smash.errors import SmashError
from smash.io.files import write_json

_SECONDS = 10
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate")

_FOLDERS = (
    *("cat", "dog", "0", "1", "10", "a b", "ünï 日本 😀", ".hidden", "__MACOSX", "-o", "x" * 200),
    *("train", "Train", "val", "valid", "test", "Testing", "images", "Dataset", "\udcff", "a\nb"),
)
_SETTINGS: tuple[dict[str, Any], ...] = (
    *({}, {}, {}, {"groups": "folders"}, {"group_pattern": r"(\d)"}, {"image_size": 8}),
    *({"features": "raw"}, {"seconds": 0.3}, {"drop_duplicates": True}, {"val_order": "last"}),
)


class TooSlow(BaseException):
    """Raised when a folder takes too long; no `Exception`, which readers may turn into faults."""


def _image(rng: random.Random, kind: str, odd: float) -> bytes:
    sides = (1, 3) if rng.random() < odd else (4, 8, 8, 8, 33)
    size = (rng.choice(sides), rng.choice((8, 8, 9, 40)))
    seed = np.random.default_rng(rng.randrange(2**32))
    mode = rng.choice(("L", "RGB", "RGBA", "P", "I;16", "1"))
    if mode == "I;16":
        values = seed.integers(0, rng.choice((200, 4096, 65536)), size[::-1], dtype=np.uint16)
        image, kind = Image.fromarray(values), rng.choice(("PNG", "TIFF"))
    else:
        pixels = seed.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        image = Image.fromarray(pixels).convert("RGB" if kind == "JPEG" else mode)
    more = {"append_images": [image, image], "save_all": True} if rng.random() < 0.1 else {}
    content = io.BytesIO()
    try:
        image.save(content, kind, **more)
    except (OSError, ValueError, KeyError):  # the format lacks this mode, or several frames
        content = io.BytesIO()
        image.convert("RGB").save(content, "PNG")
    return content.getvalue()


def _sound(rng: random.Random, odd: float) -> bytes:
    content = io.BytesIO()
    is_odd = rng.random() < odd
    with wave.open(content, "wb") as file:
        file.setnchannels(rng.choice((1, 1, 2)))
        file.setsampwidth(rng.choice((1, 2, 2, 3, 4)))
        file.setframerate(500 if is_odd else rng.choice((8000, 8000, 16000, 11025)))
        file.writeframes(rng.randbytes(rng.choice((0, 24) if is_odd else (1200, 2400, 9600))))
    return content.getvalue()


_IMAGES: dict[str, str] = {
    ".png": "PNG",
    ".PNG": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".ppm": "PPM",
}
_OTHERS = (".txt", ".csv", ".npz", ".parquet", ".heic", ".avif", ".mp3", ".json", "", ".zip")


def _file(rng: random.Random, folder: Path, number: int, is_sound: bool, odd: float) -> None:
    if rng.random() < odd:
        suffix, content = rng.choice(_OTHERS), rng.randbytes(rng.randrange(100))
    elif is_sound != (rng.random() < odd):
        suffix, content = rng.choice((".wav", ".wav", ".WAV")), _sound(rng, odd)
    else:
        suffix = rng.choice(tuple(_IMAGES))
        content = _image(rng, _IMAGES[suffix], odd)
    if rng.random() < odd:
        content = rng.choice((b"", alter(content, rng), alter(content, rng)))
    (folder / f"{rng.choice(('', 'img_', 's1-'))}{number}{suffix}").write_bytes(content)


def make_tree(rng: random.Random, root: Path, outside: Path) -> None:
    """Makes a random folder, tidy or not, with links to a file and a folder outside."""
    root.mkdir()
    is_sound, odd = rng.random() < 0.35, rng.choice((0, 0, 0.02, 0.1))
    tidy = rng.random() < 0.5

    def fill(folder: Path, names: Sequence[str], depth: int) -> None:
        for name in names:
            inner = folder / name
            with contextlib.suppress(OSError):
                inner.mkdir(exist_ok=True)
                below = rng.sample(_FOLDERS, rng.choice((0, 1, 2, 2, 3)))
                fill(inner, below if depth else (), depth - 1)
        for number in range(rng.choice((4, 6, 8)) if tidy else rng.choice((0, 0, 3, 8))):
            if not names or rng.random() < odd:
                _file(rng, folder, number, is_sound, odd)
        if rng.random() < odd:
            target = rng.choice((outside / "picture.png", outside, root, folder / "nowhere"))
            with contextlib.suppress(OSError):
                (folder / rng.choice(("link", "link.png", "link.wav"))).symlink_to(target)

    if not tidy:
        fill(root, rng.sample(_FOLDERS, rng.choice((0, 1, 2, 2, 3))), rng.choice((0, 1, 2)))
        return
    classes = rng.sample(_FOLDERS[:6], rng.choice((2, 2, 3)))
    for split in rng.choice(((".",), (".",), ("train", "test"), ("Train", "val", "Testing"))):
        (root / split).mkdir(exist_ok=True)
        fill(root / split, classes, 0)


def _watch(allowed: Callable[[str], bool], touched: list[str]) -> None:
    """Adds files that this process changes to `touched`."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in _CHANGING or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        )
        if changes and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.fsdecode(arguments[0])
            if not allowed(path) and "__pycache__" not in path:
                touched.append(f"{event} {path}")

    sys.addaudithook(hook)


@contextlib.contextmanager
def _limit(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def check_trees(trees: int, seed: int, workplace: Path) -> dict[str, Any]:
    """Checks random folders.

    Args:
        trees: Number of folders.
        seed: Seed of what is drawn.
        workplace: Folder for them.

    Returns:
        How many were read and refused, the slowest one in seconds, and the crashes.
    """
    outside, cache = workplace / "outside", workplace / "cache"
    outside.mkdir()
    Image.new("L", (8, 8)).save(outside / "picture.png")
    os.environ["SMASH_CACHE"] = str(cache)
    check_data("digits")  # imports what would take time from the first folder
    touched: list[str] = []
    watching = False
    _watch(lambda path: not watching or path.startswith((str(cache), "/dev/")), touched)
    counts = {"read": 0, "refused": 0}
    crashes: list[str] = []
    slowest = 0.0
    for number in range(trees):
        rng = random.Random(f"{seed} {number}")  # noqa: S311
        root = workplace / "tree"
        make_tree(rng, root, outside)
        settings = rng.choice(_SETTINGS)
        begun, watching = time.monotonic(), True
        try:
            with _limit(_SECONDS):
                report = check_data(root, **settings)
                "\n".join(report.lines()).encode("utf-8", "surrogateescape")
                json.dumps(report.as_json())
            counts["read" if report.ok else "refused"] += 1
        except SmashError:
            counts["refused"] += 1
        except (Exception, TooSlow):
            crashes.append(f"tree {number}, {settings}: {traceback.format_exc()[-1500:]}")
        watching = False
        slowest = max(slowest, time.monotonic() - begun)
        crashes += [f"tree {number} changed a file: {line}" for line in touched]
        touched.clear()
        shutil.rmtree(root)
        shutil.rmtree(cache, ignore_errors=True)
    return {
        "trees": trees,
        "seed": seed,
        **counts,
        "slowest_seconds": round(slowest, 2),
        "crashes": crashes,
    }


def main() -> None:
    """Checks random folders and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trees", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = check_trees(arguments.trees, arguments.seed, Path(folder))
    if arguments.out:
        write_json(arguments.out, result)
    print(json.dumps(result, indent=2))
    sys.exit(bool(result["crashes"]))


if __name__ == "__main__":
    main()
