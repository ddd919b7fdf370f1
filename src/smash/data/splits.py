"""Splits that a source lacks, cut stratified by class and in whole groups.

A cut depends on labels, groups and a fixed seed of its own, never on the seed of a run, so runs
with different seeds are judged on the same examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smash.data.dataset import Split
from smash.errors import DataError, InvalidValueError, listed, shortened

TEST_SEED = 1706
VAL_SEED = 5344
FOLD_SEED = 8128

_ATTEMPTS = 20
_ATTEMPTED_GROUPS = 20_000  # in all attempts together


def check_classes(classes: tuple[str, ...], labels: Mapping[str, Tensor], advice: str) -> None:
    """Checks that each split has, or can be given, an example of each class.

    Args:
        classes: Names of the classes.
        labels: Labels of each split that the source has (``train``, ``val``, ``test``), each of
            shape ``(n,)`` and below the number of classes.
        advice: Tells the user what to do about a class with too few examples.

    Raises:
        DataError: There are too few classes, or too few examples of a class.
    """
    faults = []
    if len(classes) < 2:
        found = ", ".join(map(repr, classes)) or "none"
        faults.append(f"classes must be at least 2, found {len(classes)} ({found}): add another")
    missing = [split for split in ("val", "test") if split not in labels]
    for split, own in labels.items():
        needed = 1 + len(missing) if split == "train" else 1
        counts = torch.bincount(own, minlength=len(classes)).tolist()
        each = ", ".join([split, *missing])
        faults += [
            f"class {name!r} must have at least {needed} examples, for {each}, has "
            f"{count}: {advice}"
            if needed > 1
            else f"class {name!r} has no example in the {split} split: {advice}"
            for name, count in zip(classes, counts, strict=True)
            if count < needed
        ]
    if faults:
        raise DataError(*shortened(faults))


def check_groups(classes: tuple[str, ...], train: Split, missing: Sequence[str]) -> None:
    """Checks that each class has examples of enough groups to be in every split.

    Args:
        classes: Names of the classes.
        train: The training split of the source, with groups.
        missing: The splits that are cut from it.

    Raises:
        DataError: A class has examples of too few groups.
    """
    counts = (_counts_by_group(train) > 0).sum(0)
    needed = 1 + len(missing)
    faults = [
        f"class {name!r} must have examples of at least {needed} groups, because "
        f"{' and '.join(missing)} are cut from train in whole groups, has {count}: add examples of "
        "other groups"
        for name, count in zip(classes, counts, strict=True)
        if count < needed
    ]
    if faults:
        raise DataError(*shortened(faults))


def cut(split: Split, fraction: float, seed: int, keep: int) -> tuple[Split, Split]:
    """Takes a stratified part of a split: of each class its share, but at least one example.

    scikit-learn's stratified splits keep proportions, but may leave a class without an example.

    Args:
        split: The examples to cut; where they have groups, whole groups are taken.
        fraction: The share to take.
        seed: Decides which examples are taken.
        keep: Examples of each class that stay at least, or groups of them; each class has more.

    Returns:
        The rest and the part, each in the order of `split`; images are not copied.

    Raises:
        DataError: No cut in whole groups gives both sides every class.
    """
    taken = _draw(split, fraction, seed, keep)
    rest, part = np.flatnonzero(~taken), np.flatnonzero(taken)
    return split.part(torch.from_numpy(rest)), split.part(torch.from_numpy(part))


def cut_fold(split: Split, number: int, folds: int, seed: int, keep: int) -> tuple[Split, Split]:
    """Takes one of several equal parts, which have every example between them.

    Args:
        split: The examples to cut; where they have groups, whole groups are taken.
        number: The part to take, from 1.
        folds: Number of parts, stratified by class.
        seed: Decides which examples are in which part.
        keep: Examples of each class that stay at least, or groups of them.

    Returns:
        The rest and the part, as `cut` gives them.

    Raises:
        DataError: A class is too rare for so many parts.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    what, owners = "examples", None
    counts = torch.bincount(split.labels)
    if split.groups is not None:
        what, owners = "groups", split.groups.numpy()
        counts = torch.from_numpy((_counts_by_group(split) > 0).sum(0))
    fewest = int(counts.min())
    if fewest < folds or fewest - -(-fewest // folds) < keep:
        raise DataError(
            f"each of {folds} folds must have each class and leave {keep} {what} of it, but the "
            f"rarest class has {fewest}: add {what} of it, or use another number of folds"
        )
    cutter = StratifiedKFold if owners is None else StratifiedGroupKFold
    cuts = cutter(folds, shuffle=True, random_state=seed).split(
        np.empty(len(split)), split.labels.numpy(), owners
    )
    rest, part = (split.part(torch.from_numpy(rows)) for rows in list(cuts)[number - 1])
    if any(len(torch.unique(each.labels)) < len(counts) for each in (rest, part)):
        raise DataError(
            f"groups cannot be cut into {folds} folds that have each of the {len(counts)} classes: "
            "add groups, or use fewer folds"
        )
    return rest, part


def cut_folds(split: Split, fraction: float, seed: int, count: int) -> list[tuple[Split, Split]]:
    """Takes several parts of a split, none of which shares an example or a group with another.

    Args:
        split: The examples to cut.
        fraction: The share of each part; less where all together would leave too few.
        seed: Decides which examples are taken.
        count: Number of parts.

    Returns:
        For each part the rest of the split, and the part, as `cut` gives them.

    Raises:
        DataError: No cuts in whole groups give all sides every class.
        InvalidValueError: A class has too few examples, or groups of them, for so many parts.
    """
    what, counts = "examples", torch.bincount(split.labels)
    if split.groups is not None:
        what, counts = "groups", torch.from_numpy((_counts_by_group(split) > 0).sum(0))
    if (fewest := int(counts[counts > 0].min())) <= count:
        raise InvalidValueError(
            f"folds must be at most {fewest}, the training {what} of the rarest class, got "
            f"{count + 1}"
        )
    every = np.arange(len(split))
    share, left, folds = min(fraction, 1 / (count + 1)), every, []
    for number in range(count):
        remaining = split.part(torch.from_numpy(left))
        taken = _draw(remaining, share / (1 - number * share), seed, keep=1)
        part, rest = left[taken], np.setdiff1d(every, left[taken])
        folds.append((split.part(torch.from_numpy(rest)), split.part(torch.from_numpy(part))))
        left = left[~taken]
    return folds


def _draw(split: Split, fraction: float, seed: int, keep: int) -> NDArray[np.bool_]:
    """Draws the examples of a cut, shape ``(n,)``."""
    # RandomState, because NumPy guarantees its stream for all versions.
    rng = np.random.RandomState(seed)
    if split.groups is not None:
        return _draw_groups(split, fraction, rng, keep)
    taken = np.zeros(len(split), dtype=bool)
    labels = split.labels.numpy()
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    for members in by_class:
        share = min(max(round(len(members) * fraction), 1), len(members) - keep)
        taken[rng.permutation(members)[:share]] = True
    return taken


def _draw_groups(
    split: Split, fraction: float, rng: np.random.RandomState, keep: int
) -> NDArray[np.bool_]:
    """Draws groups so that the examples of each class come closest to their share.

    Groups are taken greedily, large ones first, while the squared distance to the shares falls;
    then one for each class that is still missing. The best of several random orders wins.
    """
    counts = _counts_by_group(split)
    totals = counts.sum(0)

    def distance(sums: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray((((sums - fraction * totals) ** 2) / totals).sum(-1))

    def draw(order: NDArray[np.int64]) -> tuple[float, NDArray[np.bool_]] | None:
        taken = np.zeros(len(counts), dtype=bool)
        sums, left = np.zeros_like(totals), (counts > 0).sum(0)

        def take(group: int) -> None:
            nonlocal sums, left
            taken[group], sums, left = True, sums + counts[group], left - (counts[group] > 0)

        def can_take(group: int) -> bool:
            return not taken[group] and bool((left - keep >= 1)[counts[group] > 0].all())

        for group in order:
            if can_take(group) and distance(sums + counts[group]) < distance(sums):
                take(group)
        while missing := np.flatnonzero(sums == 0).tolist():
            useful = [group for group in order if counts[group, missing[0]] and can_take(group)]
            if not useful:
                return None
            take(min(useful, key=lambda group: float(distance(sums + counts[group]))))
        return float(distance(sums)), taken

    orders = [rng.permutation(len(counts)) for _ in range(_ATTEMPTS)]
    orders = orders[: max(1, _ATTEMPTED_GROUPS // len(counts))]
    orders[0] = orders[0][np.argsort(-counts[orders[0]].sum(1), kind="stable")]
    drawn = [found for found in map(draw, orders) if found is not None]
    if not drawn:
        raise DataError(
            f"{len(counts)} groups cannot be cut so that every split has each of the "
            f"{len(totals)} classes: add groups, or merge those that need not stay together"
        )
    _, best = min(drawn, key=lambda found: found[0])
    return best[_group_numbers(split)]


def _group_numbers(split: Split) -> NDArray[np.int64]:
    """Numbers the groups of a split from 0, shape ``(n,)``."""
    if split.groups is None:
        raise ValueError("the split has no groups")
    return np.unique(split.groups.numpy(), return_inverse=True)[1].reshape(-1)


def _counts_by_group(split: Split) -> NDArray[np.int64]:
    """Counts the examples of each class in each group, shape ``(groups, classes)``."""
    groups, labels = _group_numbers(split), split.labels.numpy()
    counts = np.zeros((groups.max(initial=-1) + 1, labels.max(initial=-1) + 1), dtype=np.int64)
    np.add.at(counts, (groups, labels), 1)
    return counts


def cut_last(split: Split, fraction: float) -> tuple[Split, Split]:
    """Takes the last examples of a split, as the original program does.

    Args:
        split: The examples to cut, two or more.
        fraction: The share to take; at least one example is taken, and one stays.

    Returns:
        The rest and the part; images are not copied.
    """
    n = len(split)
    first = n - min(max(round(n * fraction), 1), n - 1)
    return split.part(torch.arange(first)), split.part(torch.arange(first, n))


def split_images(
    images: Tensor, labels: Mapping[str, Tensor], groups: Mapping[str, Tensor] | None = None
) -> dict[str, Split]:
    """Divides images that lie one split after the other, without copying them.

    Args:
        images: Shape ``(n, channels, *size)``.
        labels: Labels of each split, in the order of the images; ``n`` in all.
        groups: Groups likewise, or None.
    """
    parts = torch.split(images, list(map(len, labels.values())))
    return {
        name: Split(part, labels[name], groups=groups[name] if groups else None)
        for name, part in zip(labels, parts, strict=True)
    }


def number_groups(names: Mapping[str, Sequence[object]]) -> dict[str, Tensor]:
    """Numbers the groups of all splits alike, from their names."""
    numbers: dict[object, int] = {}
    return {
        split: torch.tensor([numbers.setdefault(name, len(numbers)) for name in own])
        for split, own in names.items()
    }


def describe_groups(splits: Mapping[str, Split]) -> list[str]:
    """Says how many groups each split has, and whether some are in two of them."""
    groups = {
        name: set(split.groups.tolist())
        for name, split in splits.items()
        if split.groups is not None
    }
    if not groups:
        return []
    notes = ["groups: " + ", ".join(f"{len(own):,} in {name}" for name, own in groups.items())]
    pairs = (("train", "val"), ("train", "test"), ("val", "test"))
    shared = [
        f"{len(common):,} in {first} and {second}"
        for first, second in pairs
        if (common := groups.get(first, set()) & groups.get(second, set()))
    ]
    if shared:
        notes.append(f"groups are in two splits, which flatters the error: {listed(shared)}")
    return notes
