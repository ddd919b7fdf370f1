"""A folder of class folders of images, with or without ``train``, ``val`` and ``test`` above them.

Classes are named after their folders, and sorted. Hidden files and folders are ignored. Groups,
such as patients or videos, come from a table of files, from a pattern in the names of files, or
from the folders inside class folders.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from smash.config import LoadSettings
from smash.data.dataset import Source
from smash.data.sources.image_cache import ImageCache
from smash.data.sources.images import EXTENSIONS, Decoder, picture_file
from smash.data.splits import check_classes, number_groups, split_images
from smash.errors import DataError, InvalidValueError, collecting, listed, shortened
from smash.io.text import is_utf8, printable

SPLITS = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
"""The names of the folder of each split."""

FOLDERS = "folders"
"""Value of the setting `groups` that makes a group of each folder inside a class folder."""

_MOST_GROUP_BYTES = 2**28  # of a table of groups
_SEQUENCE = re.compile(r"^(?P<name>.*?)[_\-. ]*\d+$")


@dataclass(frozen=True)
class Listing:
    """The files of a folder, none of which has been opened.

    Attributes:
        classes: Names of the classes, in the order of the labels.
        paths: Image files of each split, one class after the other.
        labels: Their classes, shape ``(n,)``, int64.
        groups: Names of their groups, if groups are known.
        ignored: Entries of class folders that are not image files.
        notes: Decisions made, one sentence each.
        faults: Faults of the classes and the groups.
    """

    classes: tuple[str, ...]
    paths: dict[str, list[Path]]
    labels: dict[str, torch.Tensor]
    groups: dict[str, list[str]] | None
    ignored: list[Path]
    notes: tuple[str, ...]
    faults: tuple[str, ...]


def list_folder(root: Path, settings: LoadSettings) -> Listing:
    """Lists a folder of images.

    Args:
        root: A folder of class folders, or of split folders with class folders in each.
        settings: Says how groups are found, with `groups` and `group_pattern`.

    Raises:
        DataError: The folder is not laid out so.
        InvalidValueError: The table of groups does not exist.
    """
    if settings.groups not in (None, FOLDERS) and not Path(str(settings.groups)).is_file():
        raise InvalidValueError(
            f"groups {settings.groups!r} must be a CSV of file and group, or {FOLDERS!r}: "
            "there is no such file"
        )
    folders, notes = _split_folders(root)
    names = {split: _subfolders(folder) for split, folder in folders.items()}
    faults = [
        f"{folders[split]} must have a folder of images for each class, but has no folder"
        for split in folders
        if not names[split]
    ]
    if faults:
        raise DataError(*faults)
    classes = tuple(sorted(set().union(*names.values())))
    nested = settings.groups == FOLDERS

    paths: dict[str, list[Path]] = {}
    labels: dict[str, torch.Tensor] = {}
    ignored: list[Path] = []
    for split, folder in folders.items():
        own: list[int] = []
        paths[split] = []
        for label, name in enumerate(classes):
            files, others = _image_files(folder / name, nested)
            paths[split] += files
            own += [label] * len(files)
            ignored += others
        labels[split] = torch.tensor(own, dtype=torch.int64)
    if ignored:
        notes.append(f"{len(ignored):,} entries of class folders ignored: they are no image files")
    faults += _name_faults(path for own in paths.values() for path in own)
    with collecting(faults):
        check_classes(
            classes, labels, f"put images ({' '.join(sorted(EXTENSIONS))}) right into its folder"
        )
    groups = None
    with collecting(faults):
        groups = _find_groups(root, folders, paths, settings)
    if groups is None:
        notes += _sequence_notes(paths)
    return Listing(classes, paths, labels, groups, ignored, tuple(notes), tuple(faults))


def read_folder(root: Path, settings: LoadSettings) -> Source:
    """Reads a folder of images.

    Args:
        root: See `list_folder`.
        settings: Size of the images, and how groups are found.

    Raises:
        DataError: The folder is not laid out so, a class is missing, or files are unusable.
    """
    found = list_folder(root, settings)
    paths = [path for own in found.paths.values() for path in own]
    faults = list(found.faults)

    def decode() -> Decoder:
        return Decoder([picture_file(path) for path in paths], settings.image_size)

    cache = ImageCache(root, paths, {"image_size": settings.image_size})
    with collecting(faults):
        if faults:  # names unusable files in the same message
            for _ in decode().chunks():
                pass
        else:
            images, image_notes = cache.images(decode)
    if faults:
        raise DataError(*faults)
    groups = None if found.groups is None else number_groups(found.groups)
    return Source(
        classes=found.classes,
        splits=split_images(images, found.labels, groups),
        flip=True,
        augmented=True,
        notes=(*found.notes, *image_notes),
        facts=cache,
    )


def _split_folders(root: Path) -> tuple[dict[str, Path], list[str]]:
    """Finds the folder of each split, and notes others; without splits the root is `train`."""
    present = _subfolders(root)
    found = {split: [name for name in names if name in present] for split, names in SPLITS.items()}
    found = {split: names for split, names in found.items() if names}
    if not found:
        return {"train": root}, []
    faults = [
        f"{root} must have one folder of its {split} split, but has {' and '.join(names)}: keep "
        "one of them"
        for split, names in found.items()
        if len(names) > 1
    ]
    if "train" not in found:
        faults.append(
            f"{root} must have a folder 'train', because it has "
            f"{' and '.join(name for names in found.values() for name in names)}: add it"
        )
    if faults:
        raise DataError(*faults)
    folders = {split: root / names[0] for split, names in found.items()}
    others = present - {folder.name for folder in folders.values()}
    return folders, [f"folders beside the splits ignored: {listed(sorted(others))}"] * bool(others)


def _subfolders(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if entry.is_dir() and not _is_hidden(entry)}


def _image_files(folder: Path, nested: bool) -> tuple[list[Path], list[Path]]:
    """Lists the image files of a class and its other entries, both sorted.

    Args:
        folder: The folder of the class.
        nested: Also takes the files of folders inside it.
    """
    images: list[Path] = []
    others: list[Path] = []
    if folder.is_dir():
        entries = (entry for entry in folder.iterdir() if not _is_hidden(entry))
        for entry in sorted(entries, key=lambda entry: entry.name):
            if nested and entry.is_dir():
                deeper, more = _image_files(entry, nested=False)
                images += deeper
                others += more
            else:
                is_image = entry.suffix.lower() in EXTENSIONS and entry.is_file()
                (images if is_image else others).append(entry)
    return images, others


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"


def _name_faults(paths: Iterable[Path]) -> list[str]:
    """Finds class folders whose names are not UTF-8, which no report and no export could hold."""
    return shortened(
        f"{printable(folder)} must have a name in UTF-8: rename it"
        for folder in dict.fromkeys(path.parent for path in paths)
        if not is_utf8(folder.name)
    )


def _find_groups(
    root: Path,
    folders: Mapping[str, Path],
    paths: Mapping[str, list[Path]],
    settings: LoadSettings,
) -> dict[str, list[str]] | None:
    """Names the group of each file; None if groups are not asked for.

    Raises:
        DataError: Files have no group.
    """
    if settings.groups is None and settings.group_pattern is None:
        return None
    files = {
        split: [path.relative_to(root).as_posix() for path in own] for split, own in paths.items()
    }
    if settings.group_pattern is not None:
        pattern = re.compile(settings.group_pattern)
        found = {
            name: (match[1] if match.groups() else match[0]) or ""
            for own in files.values()
            for name in own
            if (match := pattern.search(name))
        }
        advice = f"change the pattern {settings.group_pattern!r}"
    elif settings.groups == FOLDERS:
        found = {
            name: path.parent.name
            for split, own in paths.items()
            for name, path in zip(files[split], own, strict=True)
            if len(path.relative_to(folders[split]).parts) > 2  # class, group, file
        }
        advice = "put it into a folder inside its class folder"
    else:
        found = _read_groups(Path(str(settings.groups)))
        advice = f"add it to {settings.groups}"
    without = [name for own in files.values() for name in own if name not in found]
    if without:
        raise DataError(*shortened(f"{root / name} has no group: {advice}" for name in without))
    return {split: [found[name] for name in own] for split, own in files.items()}


def _read_groups(path: Path) -> dict[str, str]:
    """Reads a CSV with a file, relative to the folder of images, and its group in each row."""
    if path.stat().st_size > _MOST_GROUP_BYTES:
        raise DataError(f"{path} must have at most {_MOST_GROUP_BYTES:,} bytes")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} must be CSV in UTF-8 ({error}): save it again") from None
    faults = [
        f"{path} must have two columns, file and group, has {len(row)} in row {number}"
        for number, row in enumerate(rows, 1)
        if len(row) != 2
    ]
    if faults:
        raise DataError(*shortened(faults))
    return {file.removeprefix("./"): group for file, group in rows}


def _sequence_notes(paths: Mapping[str, list[Path]]) -> list[str]:
    """Warns where names of files look like consecutive frames of a few sequences."""
    matches = (_SEQUENCE.match(path.stem) for path in paths["train"])
    counts = Counter(match["name"] for match in matches if match and match["name"])
    often = [name for name, count in counts.items() if count >= 3]
    if len(often) < 2 or sum(counts[name] for name in often) < len(paths["train"]) / 2:
        return []
    return [
        f"names of files look like {len(often):,} sequences, such as {often[0]!r}: if their "
        "examples belong together, give --group-pattern or --groups, or the error is too low"
    ]
