"""`check_data`: what a data set holds and what is wrong with it, all at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from smash.data.batches import batches
from smash.data.dataset import Split
from smash.data.load import kind_of, load_data
from smash.data.sources.folder import list_folder
from smash.data.sources.images import examine, picture_file
from smash.errors import DataError, shortened
from smash.io.text import as_size

FEW = 20
"""Training examples of a class below which a check warns."""

IMBALANCED = 10.0
"""Training examples of the largest class for each of the smallest, above which it warns."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a data set holds and what is wrong with it.

    Attributes:
        source: What was checked.
        splits: Examples of each class in each split that is there.
        sizes: Examples of each size, such as ``32x32``.
        modes: Examples of each kind of pixels, such as ``RGB``.
        imbalance: Training examples of the largest class for each of the smallest; infinite where
            a class has none.
        faults: What `load_data` refuses, one line each.
        warnings: What may harm what is learned or measured, one line each.
    """

    source: str
    splits: Mapping[str, Mapping[str, int]]
    sizes: Mapping[str, int]
    modes: Mapping[str, int]
    imbalance: float
    faults: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether it can be loaded."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON; an infinite imbalance is null."""
        finite = self.imbalance < float("inf")
        return {**asdict(self), "imbalance": self.imbalance if finite else None, "ok": self.ok}

    def lines(self) -> list[str]:
        """The report for people to read."""
        lines = []
        for split, counts in self.splits.items():
            total = sum(counts.values())
            each = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            lines.append(f"{split}: {total:,} examples of {len(counts)} classes ({each})")
        for name, found in (("sizes", self.sizes), ("modes", self.modes)):
            if found:
                common = Counter(found).most_common()
                most = shortened(f"{key} ({count:,})" for key, count in common)
                lines.append(f"{name}: {', '.join(most)}")
        if self.splits:
            lines.append(f"imbalance: {self.imbalance:.3g}")
        lines += [f"warning: {line}" for line in self.warnings]
        return lines + [f"fault: {line}" for line in self.faults]


class _Example(NamedTuple):
    """An example that was looked at.

    Attributes:
        name: What a line calls it.
        split: Its split.
        label: Its class.
        digest: The same for the same pixels.
    """

    name: str
    split: str
    label: int
    digest: bytes


def check_data(source: Any, **options: Any) -> Report:
    """Checks a data set.

    Two examples are duplicates if they decode to the same pixels, whatever their files are like:
    a network sees pixels. Of a folder, each file is decoded at its own size, and nothing is cut or
    resized. Other sources are loaded, so that duplicates across splits are those that a run has.

    Args:
        source: What `load_data` takes.
        **options: Options of `load_data`; of no matter for a folder.

    Raises:
        NotFoundError: There is nothing at a path.
        InvalidValueError: An option is wrong, or a name is not known.
    """
    if kind_of(source) == "folder":
        return _check_folder(Path(source))
    try:
        data = load_data(source, **options)
    except DataError as error:
        name = source if isinstance(source, str | Path) else type(source).__name__
        return _report(str(name), (), {}, [], [], faults=error.faults)
    splits = {"train": data.train, "val": data.val, "test": data.test}
    channels, *size = data.train.stored.shape[1:]
    kind = f"{str(data.train.stored.dtype).removeprefix('torch.')}, {channels} channels"
    examples = list(chain.from_iterable(_examples(name, split) for name, split in splits.items()))
    return _report(
        data.name,
        data.classes,
        {name: split.labels for name, split in splits.items()},
        examples,
        [(as_size(size), kind)] * len(examples),
    )


def _check_folder(root: Path) -> Report:
    try:
        listing = list_folder(root)
    except DataError as error:
        return _report(str(root), (), {}, [], [], faults=error.faults)
    examples: list[_Example] = []
    looks: list[tuple[str, str]] = []
    unusable: list[str] = []
    for split, paths in listing.paths.items():
        findings = examine(picture_file(path) for path in paths)
        labels = listing.labels[split].tolist()
        for path, label, finding in zip(paths, labels, findings, strict=True):
            if isinstance(finding, str):
                unusable.append(finding)
            else:
                examples.append(_Example(str(path), split, label, finding.digest))
                looks.append((as_size(finding.size), finding.mode))
    others = shortened(f"{path} is no image file and is ignored" for path in listing.ignored)
    notes = [note for note in listing.notes if note.startswith("folders")]
    return _report(
        str(root),
        listing.classes,
        listing.labels,
        examples,
        looks,
        faults=(*listing.faults, *shortened(unusable)),
        warnings=(*notes, *others),
    )


def _examples(name: str, split: Split) -> Iterator[_Example]:
    """Looks at the examples of a split, a few at a time."""
    labels = split.labels.tolist()
    number = 0
    for batch in batches(split, 64):
        for views in batch.images.unflatten(0, (-1, batch.views)):
            digest = blake2b(views.numpy().tobytes(), digest_size=16).digest()
            what = f"example {number} of the {name} split"
            yield _Example(what, name, labels[number], digest)
            number += 1


def _report(
    source: str,
    classes: Sequence[str],
    labels: Mapping[str, Tensor],
    examples: Sequence[_Example],
    looks: Sequence[tuple[str, str]],
    faults: Iterable[str] = (),
    warnings: Iterable[str] = (),
) -> Report:
    counts = {
        split: dict(zip(classes, torch.bincount(own, minlength=len(classes)).tolist(), strict=True))
        for split, own in labels.items()
    }
    imbalance, of_classes = _balance(counts.get("train", {}))
    return Report(
        source=source,
        splits=counts,
        sizes=dict(Counter(size for size, _ in looks)),
        modes=dict(Counter(mode for _, mode in looks)),
        imbalance=imbalance,
        faults=tuple(faults),
        warnings=(*of_classes, *_duplicates(examples, classes), *warnings),
    )


def _balance(counts: Mapping[str, int]) -> tuple[float, list[str]]:
    """How unequal classes are, and warnings of it."""
    if not counts:
        return 1.0, []
    largest, smallest = (choose(counts, key=lambda name: counts[name]) for choose in (max, min))
    imbalance = counts[largest] / counts[smallest] if counts[smallest] else float("inf")
    lines = shortened(
        f"class {name!r} has {count} training examples, fewer than {FEW}: add some"
        for name, count in counts.items()
        if count < FEW
    )
    if imbalance > IMBALANCED:
        lines.append(
            f"class {largest!r} has {imbalance:.3g} times the training examples of {smallest!r}: "
            "see --class-weights"
        )
    return imbalance, lines


def _duplicates(examples: Sequence[_Example], classes: Sequence[str]) -> list[str]:
    """Warnings of examples that are the same: of two classes, across splits, and within one."""
    same: dict[bytes, list[_Example]] = {}
    for example in examples:
        same.setdefault(example.digest, []).append(example)
    kinds: dict[str, list[str]] = {"classes": [], "splits": [], "within": []}
    for group in same.values():
        if len(group) == 1:
            continue
        labels = sorted({example.label for example in group})
        splits = list(dict.fromkeys(example.split for example in group))
        names = " and ".join(shortened(example.name for example in group))
        if len(labels) > 1:
            of = " and ".join(repr(classes[label]) for label in labels)
            line = f"the same example is of classes {of}: {names}; keep the right one"
            kinds["classes"].append(line)
        elif len(splits) > 1:
            of = " and ".join(splits)
            line = f"the same example is in splits {of}: {names}; remove it from all but one"
            kinds["splits"].append(line)
        else:
            line = f"the same example is {len(group)} times in split {splits[0]}: {names}"
            kinds["within"].append(line)
    return [line for lines in kinds.values() for line in shortened(lines)]
