"""`check_data`: reports the content of a data set and everything that is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from smash.config import LoadSettings
from smash.data.dataset import Data, Split
from smash.data.duplicates import digests, near_duplicates
from smash.data.load import kind_of, load_data
from smash.data.sources.folder import Listing, list_folder
from smash.data.sources.images import examine, picture_file
from smash.data.sources.sound import Recording, examine_sounds
from smash.errors import DataError, Unusable, describe_unusable, listed, shortened
from smash.io.text import as_size
from smash.spaces.layers import fitting_stride

FEW = 20
"""Number of training examples of a class below which a check warns."""

_MOST_ODD = 0.05

IMBALANCED = 10.0
"""Ratio of the sizes of the largest and the smallest class above which a check warns."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The content of a data set, and everything that is wrong with it.

    Attributes:
        source: The data set.
        splits: Number of examples of each class in each split that a training would use; if the
            data cannot be loaded, in each split that it has.
        sizes: Number of examples of each size, such as ``32x32`` or ``0.5 s``, as found.
        modes: Number of examples of each kind of values, such as ``RGB``.
        learned: The form in which networks get the examples, one property a line.
        imbalance: Training examples of the largest class per one of the smallest; infinite if a
            class has none.
        notes: Decisions that `load_data` made, one line each.
        faults: Reasons for which `load_data` refuses the data, one line each.
        warnings: Threats to what is learned or measured, one line each.

    Example:
        >>> report = check_data("digits")
        >>> report.ok, report.sizes
        (True, {'8x8': 1797})
    """

    source: str
    splits: Mapping[str, Mapping[str, int]]
    sizes: Mapping[str, int]
    modes: Mapping[str, int]
    imbalance: float
    learned: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the data can be loaded."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """Formats the report as plain JSON, with null for an infinite imbalance."""
        finite = self.imbalance < float("inf")
        return {**asdict(self), "imbalance": self.imbalance if finite else None, "ok": self.ok}

    def lines(self) -> list[str]:
        """Formats the report for people."""
        lines = []
        for split, counts in self.splits.items():
            each = listed((f"{name} {count:,}" for name, count in counts.items()), 20)
            total = sum(counts.values())
            lines.append(f"{split}: {total:,} examples of {len(counts)} classes ({each})")
        for name, found in (("sizes", self.sizes), ("modes", self.modes)):
            if found:
                common = Counter(found).most_common()
                lines.append(f"{name}: {listed(f'{key} ({count:,})' for key, count in common)}")
        lines += [f"learned from: {line}" for line in self.learned]
        if self.splits:
            lines.append(f"imbalance: {self.imbalance:.3g}")
        lines += [f"note: {line}" for line in self.notes]
        lines += [f"warning: {line}" for line in self.warnings]
        return lines + [f"fault: {line}" for line in self.faults]


class _File(NamedTuple):
    """A file of a folder; `digest` is that of its pixels, and empty for a recording."""

    size: str
    mode: str
    digest: bytes = b""


class _Example(NamedTuple):
    """An example in a list of duplicates; `digest` is the same for the same pixels."""

    name: str
    split: str
    label: int
    digest: Any


def check_data(source: Any, settings: LoadSettings | None = None, **changes: Any) -> Report:
    """Checks a data set as `load_data` would read and cut it.

    Examples are duplicates if they decode to the same pixels. The files of a folder are compared at
    their own size, before anything is resized.

    Args:
        source: See `load_data`.
        settings: See `load_data`.
        **changes: Fields of `LoadSettings`.

    Raises:
        NotFoundError: A path does not exist.
        InvalidValueError: A setting is wrong, or a name is not known.

    Example:
        >>> check_data("digits").faults
        ()
    """
    settings = LoadSettings.merged(settings, changes)
    listing: Listing | None = None
    infos: dict[Path, _File] = {}
    name = str(source) if isinstance(source, str | Path) else type(source).__name__
    try:
        if kind_of(source) == "folder":
            listing = list_folder(Path(source), settings)
            infos, unusable = _examine(listing)
            if listing.faults or unusable:
                return _report_faults(name, listing, infos, [*listing.faults, *unusable])
        data = load_data(source, settings)
    except DataError as error:
        return _report_faults(name, listing, infos, error.faults)
    examples = [
        example for split in data.splits for example in _examples(data, split, listing, infos)
    ]
    if listing:
        looks = [(info.size, info.mode) for info in infos.values()]
    else:
        channels, *size = data.train.stored.shape[1:]
        dtype = str(data.train.stored.dtype).removeprefix("torch.")
        looks = [(as_size(size), f"{dtype}, {channels} channels")] * len(examples)
    counts = _counts(data.classes, {name: split.labels for name, split in data.splits.items()})
    imbalance, warnings = _balance(counts["train"])
    return Report(
        source=name,
        splits=counts,
        sizes=dict(Counter(size for size, _ in looks)),
        modes=dict(Counter(mode for _, mode in looks)),
        imbalance=imbalance,
        learned=_describe_learned(data),
        notes=data.notes,
        warnings=(
            *warnings,
            *_odd_sizes(data, listing, infos),
            *_duplicates(examples, data.classes),
            *_look_alikes(data, {split: _names(data, split, listing) for split in data.splits}),
            *_ignored(listing),
        ),
    )


def _describe_learned(data: Data) -> tuple[str, ...]:
    """Words the form in which networks get the examples."""
    task, changes = data.task, data.augmentation.describe()
    stride = as_size(fitting_stride(task.size))
    return (
        f"size {as_size(task.size)}, {task.channels} channel{'s' * (task.channels > 1)}",
        f"a first layer of stride {stride}, unless --stem-stride says otherwise",
        f"{changes} in training" if changes else "examples as they are",
    )


def _odd_sizes(data: Data, listing: Listing | None, infos: Mapping[Path, _File]) -> list[str]:
    """Warns of a few images of other sizes than the others, for which all images are resized."""
    if not listing or listing.medium != "images":
        return []
    ((common, count), *others) = Counter(info.size for info in infos.values()).most_common()
    odd = sum(number for _, number in others)
    if not odd or odd > _MOST_ODD * count or as_size(data.task.size) == common:
        return []
    names = shortened(
        (f"{path} ({info.size})" for path, info in infos.items() if info.size != common), 3
    )
    return [
        f"{odd:,} of {len(infos):,} images are not of {common}, so all are resized to "
        f"{as_size(data.task.size)}: remove {', '.join(names)}, or choose --image-size"
    ]


def _ignored(listing: Listing | None) -> list[str]:
    """Warns of entries of class folders that are not read; many of a kind are one line."""
    by_suffix: dict[str, list[Path]] = {}
    for path in listing.ignored if listing else []:
        by_suffix.setdefault("" if path.is_dir() else path.suffix.lower(), []).append(path)
    lines = []
    for paths in by_suffix.values():
        others = f" and {len(paths) - 1:,} like it" if len(paths) > 1 else ""
        lines.append(f"{paths[0]}{others} ignored: no {listing and listing.medium}")
    return shortened(lines)


def _examine(listing: Listing) -> tuple[dict[Path, _File], list[str]]:
    """Opens the files of a folder, and decodes images, each at its own size."""
    paths = [path for own in listing.paths.values() for path in own]
    is_sound = listing.medium == "recordings"
    infos: dict[Path, _File] = {}
    unusable: list[Unusable] = []
    found = examine_sounds(paths) if is_sound else examine(map(picture_file, paths))
    for path, info in zip(paths, found, strict=True):
        if isinstance(info, Unusable):
            unusable.append(info)
        elif isinstance(info, Recording):
            infos[path] = _File(f"{info.seconds:.1f} s", info.kind)
        else:
            infos[path] = _File(as_size(info.size), info.mode, info.digest)
    return infos, describe_unusable(unusable)


def _report_faults(
    name: str, listing: Listing | None, infos: Mapping[Path, _File], faults: Iterable[str]
) -> Report:
    """Reports data that cannot be loaded, with the content of a folder in the splits it has."""
    if listing is None:
        return Report(
            source=name, splits={}, sizes={}, modes={}, imbalance=1.0, faults=tuple(faults)
        )
    examples = [
        _Example(str(path), split, label, infos[path].digest)
        for split, paths in listing.paths.items()
        for path, label in zip(paths, listing.labels[split].tolist(), strict=True)
        if path in infos and infos[path].digest
    ]
    counts = _counts(listing.classes, listing.labels)
    imbalance, warnings = _balance(counts["train"])
    return Report(
        source=name,
        splits=counts,
        sizes=dict(Counter(info.size for info in infos.values())),
        modes=dict(Counter(info.mode for info in infos.values())),
        imbalance=imbalance,
        notes=listing.notes,
        faults=tuple(faults),
        warnings=(
            *warnings,
            *_duplicates(examples, listing.classes),
            *_ignored(listing),
        ),
    )


def _names(data: Data, split: str, listing: Listing | None) -> list[str]:
    """Names the examples of a split: by their files, or by their numbers."""
    if listing is None:
        return [
            f"example {number} of the {split} split" for number in range(len(data.splits[split]))
        ]
    return [str(path) for path in _paths(data.splits[split], split, listing)]


def _paths(split: Split, name: str, listing: Listing) -> list[Path]:
    """Finds the files of a split, which may have been cut from the training files."""
    paths = listing.paths.get(name, listing.paths["train"])
    return paths if split.rows is None else [paths[row] for row in split.rows.tolist()]


def _examples(
    data: Data, name: str, listing: Listing | None, infos: Mapping[Path, _File]
) -> list[_Example]:
    split = data.splits[name]
    known: list[Any] = []
    if listing and listing.medium == "images":
        known = [infos[path].digest for path in _paths(split, name, listing)]
    each = zip(
        _names(data, name, listing), split.labels.tolist(), known or digests(split), strict=True
    )
    return [_Example(example, name, label, digest) for example, label, digest in each]


def _counts(classes: Sequence[str], labels: Mapping[str, Tensor]) -> dict[str, dict[str, int]]:
    return {
        split: dict(zip(classes, torch.bincount(own, minlength=len(classes)).tolist(), strict=True))
        for split, own in labels.items()
    }


def _balance(counts: Mapping[str, int]) -> tuple[float, list[str]]:
    """Computes the imbalance of the classes, and warns of small ones."""
    largest, smallest = (choose(counts, key=lambda name: counts[name]) for choose in (max, min))
    imbalance = counts[largest] / counts[smallest] if counts[smallest] else float("inf")
    warnings = shortened(
        f"class {name!r} has {count} training examples, fewer than {FEW}: add some"
        for name, count in counts.items()
        if count < FEW
    )
    if IMBALANCED < imbalance < float("inf"):
        warnings.append(
            f"class {largest!r} has {imbalance:.3g} times the training examples of {smallest!r}: "
            "see --class-weights"
        )
    return imbalance, warnings


def _duplicates(examples: Sequence[_Example], classes: Sequence[str]) -> list[str]:
    """Warns of identical examples: of two classes, in two splits, and within a split."""
    same: dict[Any, list[_Example]] = {}
    for example in examples:
        same.setdefault(example.digest, []).append(example)
    kinds: dict[str, list[str]] = {"classes": [], "splits": [], "within": []}
    for copies in same.values():
        if len(copies) == 1:
            continue
        labels = sorted({example.label for example in copies})
        splits = list(dict.fromkeys(example.split for example in copies))
        names = (" and " if len(copies) == 2 else ", ").join(
            shortened(example.name for example in copies)
        )
        if len(labels) > 1:
            both = " and ".join(repr(classes[label]) for label in labels)
            line = f"the same example is of classes {both}: {names}; keep the right one"
            kinds["classes"].append(line)
        elif len(splits) > 1:
            both = " and ".join(splits)
            line = f"the same example is in splits {both}: {names}; remove it from all but one"
            kinds["splits"].append(line)
        else:
            line = f"the same example is {len(copies)} times in split {splits[0]}: {names}"
            kinds["within"].append(line)
    return [line for lines in kinds.values() for line in shortened(lines)]


def _pixels(split: Split, index: int) -> Tensor:
    return split.subset(slice(index, index + 1)).images


def _look_alikes(data: Data, names: Mapping[str, Sequence[str]]) -> list[str]:
    """Warns of images in two splits that look alike, where they are not the same."""
    warnings: list[str] = []
    if data.sound is not None:  # spectrograms of the same word look alike
        return warnings
    for earlier, later in combinations(data.splits, 2):
        first, second = data.splits[later], data.splits[earlier]
        pairs = [
            (at, other)
            for at, other in near_duplicates(first, second)
            if not torch.equal(_pixels(first, at), _pixels(second, other))
        ]
        if pairs:
            at, other = pairs[0]
            warnings.append(
                f"{len(pairs):,} of {len(first):,} {later} examples look like one in {earlier} "
                f"({names[later][at]} and {names[earlier][other]}): if they belong together, give "
                "--groups or --group-pattern"
            )
    return warnings
