"""A cache of decoded images in a file: they are decoded once and need not fit in memory.

An entry belongs to a folder or file of images and to the options that it is read with. It consists
of two files: ``NAME.u8`` with the pixels, and ``NAME.json`` with their shape, checksum, and the
identity of the image files. Entries are replaced when the image files change or when they are
damaged, and may be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import PIL
import torch
from torch import Tensor

from smash.data.sources.images import Decoder
from smash.errors import DataError
from smash.io.files import remove_abandoned, replacing

VARIABLE = "SMASH_CACHE"
_VERSION = 2
_CHUNK = 2**24


def cache_folder() -> Path:
    """Gives the folder of decoded images: ``SMASH_CACHE``, or ``~/.cache/smash``.

    Raises:
        OSError: There is no home directory.
    """
    if folder := os.environ.get(VARIABLE):
        return Path(folder)
    try:
        return Path.home() / ".cache" / "smash"
    except RuntimeError:  # no HOME and no entry in the password database, as in some containers
        raise OSError("there is no home directory") from None


class ImageCache:
    """The cache entry of a folder or file of images.

    Args:
        root: The folder or the file.
        files: The image files, in their order.
        options: The options that they are read with.
    """

    def __init__(self, root: Path, files: Sequence[Path], options: Mapping[str, Any]) -> None:
        self._root, self._files, self._options = root, files, dict(options)
        self._name = _digest([str(root.resolve()), self._options])[:32]
        self._entry: dict[str, Any] | None = None

    def images(self, decode: Callable[[], Decoder]) -> tuple[Tensor, int, tuple[str, ...]]:
        """Reads the images from the entry, or decodes them and makes the entry.

        Args:
            decode: Makes the decoder, if it is needed.

        Returns:
            Images of shape ``(n, channels, height, width)``, uint8, which must not be written to;
            the value of 16-bit pixels that is white; and notes on decisions.

        Raises:
            DataError: Images cannot be used, or changed while they were read.
        """
        decoder = None
        try:
            key = self._key()
            images = self._open(key)
            if images is None:
                decoder = decode()
                self._write(key, decoder)
                images = self._open(key)
        except OSError as error:
            decoder = decoder or decode()
            note = f"decoded images are not cached: {error.strerror or error} (see {VARIABLE})"
            return decoder.in_memory(), decoder.white, (*decoder.notes, note)
        if images is None or self._entry is None:
            raise DataError(f"{cache_folder()} changed while images were read: read them again")
        return images, int(self._entry["white"]), tuple(self._entry["notes"])

    def recall(self, name: str) -> Any:
        """Returns the fact about the images under a name, or None."""
        return None if self._entry is None else self._entry["facts"].get(name)

    def remember(self, name: str, fact: Any) -> None:
        """Keeps a fact about the images, as plain JSON, until they change."""
        if self._entry is None:
            return
        self._entry["facts"][name] = fact
        try:
            self._write_entry(self._entry)
        except OSError:  # the entry belongs to another user: the fact is computed again
            return

    def _key(self) -> str:
        """Identifies the content of the image files, without reading them."""
        files = []
        for path in self._files:
            found = path.stat()
            # An unpacked file may have an old modification time, but not an old change time.
            times = (found.st_mtime_ns, found.st_ctime_ns)
            files.append([str(path).removeprefix(str(self._root)), found.st_size, *times])
        return _digest([_VERSION, PIL.__version__, self._options, files])

    def _path(self, suffix: str) -> Path:
        return cache_folder() / f"{self._name}{suffix}"

    def _open(self, key: str) -> Tensor | None:
        """Maps the pixels into memory; None unless they are complete and have this key."""
        try:
            content = json.loads(self._path(".json").read_text(encoding="utf-8"))
            entry = content["entry"]
            if content["sha256"] != _digest(entry) or entry["key"] != key:
                return None
            shape = tuple(entry["shape"])
            with self._path(".u8").open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != np.prod(shape, dtype=np.int64) or _checksum(file) != entry["crc32"]:
                    return None
                pixels = np.memmap(file, np.uint8, "r", shape=shape)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        self._entry = entry
        with warnings.catch_warnings():
            # The map is read-only, because a private copy might not fit in memory.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(pixels)

    def _write(self, key: str, decoder: Decoder) -> None:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        n, channels, *size = decoder.shape
        needed = int(np.prod(decoder.shape, dtype=np.int64))
        if (free := shutil.disk_usage(folder).free) < needed:
            raise OSError(f"{folder} needs {needed:,} bytes, but has {free:,} free")
        with replacing(self._path(".u8")) as file:
            crc = 0
            for chunk in decoder.chunks():
                file.write(chunk.data)
                crc = zlib.crc32(chunk.data, crc)
            if decoder.grey and channels > 1:
                crc = _keep_first_channel(file, n, channels, int(np.prod(size)))
                channels = 1
            if self._key() != key:
                raise DataError(f"{self._root} changed while it was read: read it again")
        self._write_entry(
            {
                "key": key,
                "shape": [n, channels, *size],
                "crc32": crc,
                "white": decoder.white,
                "notes": decoder.notes,
                "facts": {},
            }
        )

    def _write_entry(self, entry: Mapping[str, Any]) -> None:
        with replacing(self._path(".json")) as file:
            file.write(json.dumps({"entry": entry, "sha256": _digest(entry)}).encode())


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _checksum(file: IO[bytes]) -> int:
    crc = 0
    while chunk := file.read(_CHUNK):
        crc = zlib.crc32(chunk, crc)
    return crc


def _keep_first_channel(file: IO[bytes], n: int, channels: int, pixels: int) -> int:
    """Drops all channels but the first, in place, and computes the new checksum."""
    crc = 0
    step = max(1, _CHUNK // (channels * pixels))
    for start in range(0, n, step):
        # The write position never passes the read position.
        file.seek(start * channels * pixels)
        content = file.read(min(step, n - start) * channels * pixels)
        first = np.frombuffer(content, np.uint8).reshape(-1, channels, pixels)[:, 0].tobytes()
        file.seek(start * pixels)
        file.write(first)
        crc = zlib.crc32(first, crc)
    file.truncate(n * pixels)
    return crc
