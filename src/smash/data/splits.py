"""Cutting the splits that a source does not have, a fair share of each class.

A cut is a function of the labels and of a seed of its own, never of the seed of a run: runs with
different seeds are judged on the same examples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from smash.data.dataset import Split
from smash.errors import DataError, shortened

TEST_SEED = 1706
VAL_SEED = 5344


def check_classes(classes: tuple[str, ...], labels: Mapping[str, Tensor], mend: str) -> None:
    """Checks that each split has, or can be given, an example of each class.

    Args:
        classes: Names of the classes.
        labels: Labels of each split that the source has, by ``train``, ``val`` or ``test``; each
            of shape ``(n,)``, below the number of classes.
        mend: What to do about a class with too few examples.

    Raises:
        DataError: There are too few classes, or too few examples of a class.
    """
    faults = []
    if len(classes) < 2:
        found = ", ".join(map(repr, classes)) or "none"
        faults.append(f"classes must be at least 2, found {len(classes)} ({found}): add another")
    missing = [split for split in ("val", "test") if split not in labels]
    for split, of_split in labels.items():
        needed = 1 + len(missing) if split == "train" else 1
        counts = torch.bincount(of_split, minlength=len(classes)).tolist()
        why = f" with {' and '.join(missing)} cut from it" if needed > 1 else ""
        faults += [
            f"class {name!r} must have at least {needed} in the {split} split{why}, "
            f"has {count}: {mend}"
            for name, count in zip(classes, counts, strict=True)
            if count < needed
        ]
    if faults:
        raise DataError(*shortened(faults))


def cut(split: Split, fraction: float, seed: int, keep: int) -> tuple[Split, Split]:
    """Takes a part of each class away: its share, rounded, but at least one example.

    scikit-learn's stratified splits promise proportions, but not an example of each class.

    Args:
        split: The examples to cut.
        fraction: The share to take.
        seed: Which examples are taken.
        keep: Examples of each class to leave at least; each class has more than that.

    Returns:
        What is left and what was taken, each in the order of `split`; images are not copied.
    """
    # RandomState, because NumPy promises that its numbers never change.
    rng = np.random.RandomState(seed)
    labels = split.labels.numpy()
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    taken = np.zeros(len(split), dtype=bool)
    for members in by_class:
        share = min(max(round(len(members) * fraction), 1), len(members) - keep)
        taken[rng.permutation(members)[:share]] = True
    rest, part = np.flatnonzero(~taken), np.flatnonzero(taken)
    return split.part(torch.from_numpy(rest)), split.part(torch.from_numpy(part))


def cut_last(split: Split, fraction: float) -> tuple[Split, Split]:
    """Takes the last examples, as they stand: the order of the original program.

    Args:
        split: The examples to cut, two or more.
        fraction: The share to take; at least one example is taken, and one is left.

    Returns:
        What is left and what was taken; images are not copied.
    """
    n = len(split)
    first = n - min(max(round(n * fraction), 1), n - 1)
    return split.part(torch.arange(first)), split.part(torch.arange(first, n))


def share_out(images: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Split]:
    """Gives each split its own of images that lie one split after the other; none is copied.

    Args:
        images: Shape ``(n, channels, *size)``.
        labels: Labels of each split, in the order of the images; ``n`` together.
    """
    parts = torch.split(images, list(map(len, labels.values())))
    return {name: Split(part, labels[name]) for name, part in zip(labels, parts, strict=True)}
