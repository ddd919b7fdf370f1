"""Published data sets: the folder that they are looked for in, and the arrays of their files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from smash.data.sources.npz import read_npz
from smash.errors import DataError

FOLDER_VARIABLE = "SMASH_DATA"
"""Environment variable that names the folder of published data sets."""

_DEFAULT_FOLDER = "~/.cache/smash/data"
_RESIZED_AT_ONCE = 1000


def data_folder(data_dir: str | Path | None) -> Path:
    """The folder of published data sets.

    Args:
        data_dir: The folder; where None, what ``SMASH_DATA`` says, or ``~/.cache/smash/data``.
    """
    return Path(data_dir or os.environ.get(FOLDER_VARIABLE) or _DEFAULT_FOLDER).expanduser()


def find_files(folders: Sequence[Path], names: Iterable[str]) -> dict[str, Path]:
    """The files of these names that are there, each in the first of the folders that has it."""
    found = {}
    for name in names:
        places = [folder / name for folder in folders if (folder / name).is_file()]
        if places:
            found[name] = places[0]
    return found


def absent(name: str, folder: Path, missing: Iterable[str], mend: str) -> DataError:
    """The error of a data set whose files are not there.

    Args:
        name: Name of the data set.
        folder: Where it was looked for.
        missing: What is missing there.
        mend: Where to get it.
    """
    return DataError(
        f"{name} must be in {folder}, and {', '.join(missing)} is missing there: {mend}, or name "
        f"the folder that has it with --data-dir or {FOLDER_VARIABLE}"
    )


def read_array(path: Path, *keys: str) -> NDArray[Any]:
    """Reads the array of an ``.npz`` file that stands under one of `keys`; no Python objects.

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
    names = ", ".join(sorted(found.names)) or "none"
    wanted = " or ".join(map(repr, keys))
    raise DataError(f"{path} must have an array {wanted}, found {names}: get the published file")


def resized(images: Tensor, image_size: int | None) -> Tensor:
    """Resizes square images, antialiased.

    Args:
        images: Shape ``(n, channels, side, side)``, uint8.
        image_size: The new side, in pixels; None for the old one.

    Returns:
        Shape ``(n, channels, image_size, image_size)``, uint8.
    """
    if image_size in (None, images.shape[-1]):
        return images
    from torchvision.transforms.v2.functional import resize  # slow to import

    parts = images.split(_RESIZED_AT_ONCE)
    return torch.cat([resize(part, [image_size, image_size], antialias=True) for part in parts])
