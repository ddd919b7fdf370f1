"""Decoded images in a file, so that they are decoded once and need not fit in memory.

An entry belongs to a folder or file of images and to the options it is read with. It is two files:
``NAME.u8``, the pixels and nothing else, and ``NAME.json``, which says what they are, of which
files, and their checksum. Both are written under a temporary name and renamed. An entry whose files
have changed, or that is damaged, is made anew. Entries can be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import PIL
import torch
from torch import Tensor

from smash.data.sources.images import Decoder
from smash.errors import DataError

VARIABLE = "SMASH_CACHE"
_VERSION = 1
_CHUNK = 2**24
_ABANDONED = 3600  # seconds since the last chunk: whoever wrote it is gone


def cache_folder() -> Path:
    """Where decoded images are kept: ``SMASH_CACHE``, or ``~/.cache/smash``."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".cache" / "smash")


class ImageCache:
    """The entry of a folder or file of images.

    Args:
        root: The folder or the file.
        files: The files that are read, in their order.
        options: With what they are read.
    """

    def __init__(self, root: Path, files: Sequence[Path], options: Mapping[str, Any]) -> None:
        self._root, self._files, self._options = root.resolve(), files, dict(options)
        self._given = root
        self._folder = cache_folder()
        self._name = _digest([str(self._root), self._options])[:32]
        self._about: dict[str, Any] | None = None

    def images(self, decode: Callable[[], Decoder]) -> tuple[Tensor, tuple[str, ...]]:
        """The images, from the entry if it is good; otherwise they are decoded and kept.

        Args:
            decode: Makes the decoder, where there is something to decode.

        Returns:
            Images of shape ``(n, channels, height, width)``, uint8, which must not be written to;
            and notes on what was done.

        Raises:
            DataError: Images cannot be used, or have changed while they were read.
        """
        key = self._key()
        images = self._open(key)
        if images is None:
            decoder = decode()
            try:
                self._keep(key, decoder)
                images = self._open(key)
            except OSError as error:
                reason = error.strerror or error
                note = f"decoded images not kept: {self._folder}: {reason} (see {VARIABLE})"
                return decoder.in_memory(), (*decoder.notes, note)
        if images is None or self._about is None:
            raise DataError(f"{self._folder} must be left alone while images are read: read again")
        return images, tuple(self._about["notes"])

    def recall(self, name: str) -> Any:
        """What was remembered of these images under a name; None if nothing was."""
        return None if self._about is None else self._about["facts"].get(name)

    def remember(self, name: str, fact: Any) -> None:
        """Keeps a fact about these images, as plain JSON, for as long as they stay the same."""
        if self._about is None:
            return
        self._about["facts"][name] = fact
        try:
            self._write_about(self._about)
        except OSError:  # a folder that was filled by another user: it is worked out again
            return

    def _key(self) -> str:
        """Identifies what would be decoded, by all that shows without reading the files."""
        files = []
        root = str(self._given)
        for path in self._files:
            found = path.stat()
            # The time of change as well: a copied or unpacked file may bring an old modification.
            times = (found.st_mtime_ns, found.st_ctime_ns)
            files.append([str(path).removeprefix(root), found.st_size, *times])
        return _digest([_VERSION, PIL.__version__, self._options, files])

    def _path(self, suffix: str) -> Path:
        return self._folder / f"{self._name}{suffix}"

    def _open(self, key: str) -> Tensor | None:
        """Maps the pixels into memory; None unless they are whole and those of `key`."""
        try:
            content = json.loads(self._path(".json").read_text(encoding="utf-8"))
            about = content["about"]
            if content["sha256"] != _digest(about) or about["key"] != key:
                return None
            shape = tuple(about["shape"])
            with self._path(".u8").open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != np.prod(shape, dtype=np.int64) or _checksum(file) != about["crc32"]:
                    return None
                pixels = np.memmap(file, np.uint8, "r", shape=shape)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        self._about = about
        with warnings.catch_warnings():
            # It is mapped for reading alone: a private copy of it might not fit in memory.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(pixels)

    def _keep(self, key: str, decoder: Decoder) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()
        n, channels, *size = decoder.shape
        needed = int(np.prod(decoder.shape, dtype=np.int64))
        if (free := shutil.disk_usage(self._folder).free) < needed:
            raise OSError(f"{needed:,} bytes needed, {free:,} free")
        with _replacing(self._path(".u8")) as file:
            crc = 0
            for chunk in decoder.chunks():
                file.write(chunk.data)
                crc = zlib.crc32(chunk.data, crc)
            if decoder.grey and channels > 1:
                crc = _keep_first_channel(file, n, channels, int(np.prod(size)))
                channels = 1
            if self._key() != key:
                raise DataError(f"{self._given} has changed while it was read: read it again")
        about = {"key": key, "shape": [n, channels, *size], "crc32": crc, "notes": decoder.notes}
        self._write_about({**about, "facts": {}})

    def _write_about(self, about: Mapping[str, Any]) -> None:
        with _replacing(self._path(".json")) as file:
            file.write(json.dumps({"about": about, "sha256": _digest(about)}).encode())

    def _remove_abandoned(self) -> None:
        """Removes what a killed process has left of this entry."""
        for path in self._folder.glob(f".{self._name}.*.tmp"):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink(missing_ok=True)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _checksum(file: IO[bytes]) -> int:
    crc = 0
    while chunk := file.read(_CHUNK):
        crc = zlib.crc32(chunk, crc)
    return crc


def _keep_first_channel(file: IO[bytes], n: int, channels: int, pixels: int) -> int:
    """Drops all channels but the first, within the file; gives the checksum of what is left."""
    crc = 0
    step = max(1, _CHUNK // (channels * pixels))
    for start in range(0, n, step):
        # What is written lies before what is still to be read.
        file.seek(start * channels * pixels)
        content = file.read(min(step, n - start) * channels * pixels)
        first = np.frombuffer(content, np.uint8).reshape(-1, channels, pixels)[:, 0].tobytes()
        file.seek(start * pixels)
        file.write(first)
        crc = zlib.crc32(first, crc)
    file.truncate(n * pixels)
    return crc


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` once it is whole and on disk."""
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
