"""Examples that are in two splits, which makes errors look lower than they are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from hashlib import blake2b
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from smash.data.batches import batches
from smash.data.dataset import Split
from smash.errors import DataError, shortened

_BATCH = 256
_SIDE = 16  # of a perceptual hash, in bits
_MOST_DIFFERENT_BITS = 26  # of 256
_MOST_PAIRS = 2**28


def digests(split: Split) -> NDArray[np.uint64]:
    """Hashes the pixels of each example, with all views; shape ``(n,)``."""
    found = np.empty(len(split), dtype=np.uint64)
    number = 0
    for batch in batches(split, _BATCH):
        for views in batch.images.unflatten(0, (-1, batch.views)).numpy():
            digest = blake2b(views.tobytes(), digest_size=8).digest()
            found[number] = int.from_bytes(digest, "little")
            number += 1
    return found


def count_duplicates(splits: Mapping[str, Split]) -> dict[str, int]:
    """Counts the examples of each later split whose pixels are in an earlier one.

    Args:
        splits: ``train``, ``val`` and ``test``.

    Returns:
        Counts by pair of names, such as ``test in train``.
    """
    found = {name: digests(split) for name, split in splits.items()}
    return {
        f"{later} in {earlier}": int(np.isin(found[later], found[earlier]).sum())
        for earlier, later in combinations(splits, 2)
    }


def describe_duplicates(counts: Mapping[str, int], splits: Mapping[str, Split]) -> str:
    """Words the result of `count_duplicates` in one line; empty where there are no duplicates."""
    parts = []
    for pair, count in counts.items():
        later, _, earlier = pair.partition(" in ")
        if count:
            parts.append(f"{count:,} of {len(splits[later]):,} {later} examples are in {earlier}")
    if not parts:
        return ""
    return (
        f"the same pixels are in two splits, so errors are too low: {', '.join(parts)}; list them "
        "with 'smash data check', or leave them out with --drop-duplicates"
    )


def drop_duplicates(
    splits: Mapping[str, Split], classes: tuple[str, ...]
) -> tuple[dict[str, Split], list[str]]:
    """Leaves out examples whose pixels are in a later split; the test split stays complete.

    Args:
        splits: ``train``, ``val`` and ``test``.
        classes: Names of the classes.

    Returns:
        The splits, and a note on what was left out.

    Raises:
        DataError: A class has no example left.
    """
    found = {name: digests(split) for name, split in splits.items()}
    kept = {
        "train": ~np.isin(found["train"], np.concatenate([found["val"], found["test"]])),
        "val": ~np.isin(found["val"], found["test"]),
        "test": np.ones(len(found["test"]), dtype=bool),
    }
    parts = {
        name: split
        if kept[name].all()
        else split.part(torch.from_numpy(np.flatnonzero(kept[name])))
        for name, split in splits.items()
    }
    faults = [
        f"class {name!r} has no example left in the {split} split without duplicates: add examples"
        for split, part in parts.items()
        for name, count in zip(
            classes, torch.bincount(part.labels, minlength=len(classes)).tolist(), strict=True
        )
        if not count
    ]
    if faults:
        raise DataError(*shortened(faults))
    dropped = [f"{int((~kept[name]).sum()):,} of {name}" for name in ("train", "val")]
    return parts, [
        f"examples left out because their pixels are in a later split: {', '.join(dropped)}"
    ]


def near_duplicates(first: Split, second: Split) -> list[tuple[int, int]]:
    """Finds images of two splits that look alike, such as frames of a video or recompressed copies.

    Compares difference hashes of 256 bits: the signs of the horizontal gradient of the image,
    averaged to 16×17 grey pixels. A flat area agrees with nothing. Images of `first` are also
    shifted by a pixel in all directions, which matters for small ones.

    Returns:
        For each image of `first` that has a similar one, its index and that of the most similar
        image of `second`; none where the examples are not images of at least 16×16 pixels, or
        where the splits are too large to compare.
    """
    images = first.stored
    if images.ndim != 4 or min(images.shape[2:]) < _SIDE or len(first) * len(second) > _MOST_PAIRS:
        return []
    hashes = _difference_hashes(second)
    pairs: list[tuple[int, int]] = []
    start = 0
    for batch in batches(first.first_views, _BATCH):
        agreement, nearest = _agreement(batch.images, hashes).max(1)
        similar = agreement >= _SIDE**2 - 2 * _MOST_DIFFERENT_BITS
        pairs += [(start + at, int(nearest[at])) for at in np.flatnonzero(similar.numpy()).tolist()]
        start += len(batch)
    return pairs


def _agreement(images: Tensor, hashes: Tensor) -> Tensor:
    """Counts equal minus different bits, shape ``(n, m)``, for the best shift of each image."""
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    shifted = (_hash(torch.roll(images, shift, (2, 3))) @ hashes.T for shift in shifts)
    return reduce(torch.maximum, shifted)


def _difference_hashes(split: Split) -> Tensor:
    return torch.cat([_hash(batch.images) for batch in batches(split.first_views, _BATCH)])


def _hash(images: Tensor) -> Tensor:
    """Computes difference hashes, shape ``(n, 256)`` and values -1, 0, 1, of a batch of images."""
    grey = F.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), (_SIDE, _SIDE + 1))
    return grey.diff(dim=3).sign().flatten(1)
