"""Files of published data sets: where they are found, and how their arrays are read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from smash.data.sources.npz import read_npz
from smash.errors import DataError, listed

FOLDER_VARIABLE = "SMASH_DATA"
"""Environment variable that names the folder of published data sets."""

_DEFAULT_FOLDER = "~/.cache/smash/data"
_BATCH = 1000


def data_folder(data_dir: str | Path | None) -> Path:
    """Gives the folder of published data sets.

    Args:
        data_dir: The folder; where None, that in ``SMASH_DATA``, or ``~/.cache/smash/data``.

    Raises:
        DataError: There is no home directory.
    """
    try:
        return Path(data_dir or os.environ.get(FOLDER_VARIABLE) or _DEFAULT_FOLDER).expanduser()
    except RuntimeError:  # no HOME and no entry in the password database, as in some containers
        raise DataError(
            "the folder of data sets is not known, because there is no home directory: name it "
            f"with --data-dir or {FOLDER_VARIABLE}"
        ) from None


def find_files(folders: Sequence[Path], names: Iterable[str]) -> dict[str, Path]:
    """Finds files by name, each in the first of the folders that has it."""
    found = {}
    for name in names:
        paths = [folder / name for folder in folders if (folder / name).is_file()]
        if paths:
            found[name] = paths[0]
    return found


def missing_files(name: str, folder: Path, missing: Iterable[str], advice: str) -> DataError:
    """Makes the error of a data set whose files are missing.

    Args:
        name: Name of the data set.
        folder: Where it was looked for.
        missing: The missing files.
        advice: Where to get them.
    """
    return DataError(
        f"{name} must be in {folder}, which lacks {listed(missing)}: {advice}, or name the folder "
        f"that has it with --data-dir or {FOLDER_VARIABLE}"
    )


def read_array(path: Path, *keys: str) -> NDArray[Any]:
    """Reads the array of an ``.npz`` file under the first of `keys` that it has.

    Raises:
        DataError: There is no such array, or it cannot be read.
    """
    try:
        found = read_npz(path, keys)
    except DataError as error:
        raise DataError(*(f"{path}: {fault}" for fault in error.faults)) from None
    if found.faults:
        raise DataError(*(f"{path}: {fault}: get it again" for fault in found.faults))
    for key in keys:
        if key in found.arrays:
            return found.arrays[key]
    wanted = " or ".join(map(repr, keys))
    raise DataError(
        f"{path} must have an array {wanted}, found {listed(sorted(found.names))}: get the "
        "published file"
    )


def resized(images: Tensor, image_size: int | None) -> Tensor:
    """Resizes square images, antialiased.

    Args:
        images: Shape ``(n, channels, side, side)``, uint8.
        image_size: The new side in pixels; None to keep it.

    Returns:
        Shape ``(n, channels, image_size, image_size)``, uint8.
    """
    if image_size in (None, images.shape[-1]):
        return images
    from torchvision.transforms.v2.functional import resize  # slow to import

    parts = images.split(_BATCH)
    return torch.cat([resize(part, [image_size, image_size], antialias=True) for part in parts])
