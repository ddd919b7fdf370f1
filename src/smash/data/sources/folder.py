"""A folder of class folders, with or without ``train``, ``val`` and ``test`` above them.

Class folders hold images or recordings. Classes are named after their folders, and sorted. Hidden
files and folders are ignored. Groups, such as patients or speakers, come from a table of files,
from a pattern in the names of files, or from the folders inside class folders.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from smash.config import LoadSettings
from smash.data.dataset import Source
from smash.data.sources.image_cache import ImageCache
from smash.data.sources.images import IMAGE_EXTENSIONS, Decoder, picture_file
from smash.data.sources.sound import SOUND_EXTENSIONS, examine_sounds, read_sounds
from smash.data.splits import check_classes, number_groups, split_images
from smash.errors import (
    DataError,
    InvalidValueError,
    Unusable,
    collecting,
    describe_unusable,
    listed,
    shortened,
)
from smash.io.text import is_utf8, printable

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""The names of the folder of each split, in lower case."""

Medium = Literal["images", "recordings"]
MEDIA: dict[Medium, frozenset[str]] = {
    "images": IMAGE_EXTENSIONS,
    "recordings": SOUND_EXTENSIONS,
}
"""Endings of the files of each kind, in lower case."""

_FOR_IMAGES = ("image_size",)
_FOR_RECORDINGS = ("features", "sample_rate", "seconds")

FOLDERS = "folders"
"""Value of the setting `groups` that makes a group of each folder inside a class folder."""

_MOST_GROUP_BYTES = 2**28  # of a table of groups
_SEQUENCE = re.compile(r"^(?P<name>.*?)[_\-. ]*\d+$")


@dataclass(frozen=True)
class Listing:
    """The files of a folder, none of which has been opened.

    Attributes:
        medium: What the files hold; the kind that there is more of, and the others are ignored.
        classes: Names of the classes, in the order of the labels.
        paths: Files of each split, one class after the other.
        labels: Their classes, shape ``(n,)``, int64.
        groups: Names of their groups, if groups are known.
        ignored: Entries of class folders that are no such files.
        notes: Decisions made, one sentence each.
        faults: Faults of the classes and the groups.
    """

    medium: Medium
    classes: tuple[str, ...]
    paths: dict[str, list[Path]]
    labels: dict[str, torch.Tensor]
    groups: dict[str, list[str]] | None
    ignored: list[Path]
    notes: tuple[str, ...]
    faults: tuple[str, ...]


def list_folder(root: Path, settings: LoadSettings) -> Listing:
    """Lists a folder of images or recordings.

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
        f"{folder} must have a folder of images or recordings for each class, but has no folder"
        + _own_files(folder)
        for split, folder in folders.items()
        if not names[split]
    ]
    if faults:
        raise DataError(*faults)
    classes = tuple(sorted(set().union(*names.values())))
    nested = settings.groups == FOLDERS

    entries = {
        split: [list(_entries(folder / name, nested)) for name in classes]
        for split, folder in folders.items()
    }
    medium = _most_common_medium(file for own in entries.values() for part in own for file in part)
    paths: dict[str, list[Path]] = {}
    labels: dict[str, torch.Tensor] = {}
    ignored: list[Path] = []
    for split, by_class in entries.items():
        paths[split], own = [], []
        for label, found in enumerate(by_class):
            files = [path for path in found if _is_of(medium, path)]
            ignored += [path for path in found if not _is_of(medium, path)]
            paths[split] += files
            own += [label] * len(files)
        labels[split] = torch.tensor(own, dtype=torch.int64)
    nested_files = _describe_nested(ignored, medium)
    notes += nested_files + _describe_ignored(ignored, medium)
    faults += _name_faults(path for own in paths.values() for path in own)
    with collecting(faults):
        check_classes(
            classes,
            labels,
            f"put {medium} ({' '.join(sorted(MEDIA[medium]))}) right into its folder",
        )
    if faults:
        faults += nested_files + (_likely_meant(root) if folders["train"] == root else [])
    groups = None
    with collecting(faults):
        groups = _find_groups(root, folders, paths, settings)
    if groups is None:
        notes += _sequence_notes(paths)
    return Listing(medium, classes, paths, labels, groups, ignored, tuple(notes), tuple(faults))


def read_folder(root: Path, settings: LoadSettings) -> Source:
    """Reads a folder of images or recordings.

    Args:
        root: See `list_folder`.
        settings: Form of the examples, and how groups are found.

    Raises:
        DataError: The folder is not laid out so, a class is missing, or files are unusable.
        InvalidValueError: A setting is for files of another kind.
        MissingExtraError: A package that reads such files is not installed.
    """
    found = list_folder(root, settings)
    unsuited = _FOR_IMAGES if found.medium == "recordings" else _FOR_RECORDINGS
    if given := [name for name in unsuited if getattr(settings, name) is not None]:
        raise InvalidValueError(
            *(
                f"{name} is not for {found.medium}: leave it out for {str(root)!r}, got "
                f"{getattr(settings, name)}"
                for name in given
            )
        )
    read = _read_sounds if found.medium == "recordings" else _read_images
    paths = [path for own in found.paths.values() for path in own]
    faults = list(found.faults)
    with collecting(faults):  # names unusable files in the same message
        inputs, notes, more = read(root, paths, settings, usable=not faults)
    if faults:
        raise DataError(*faults)
    groups = None if found.groups is None else number_groups(found.groups)
    return Source(
        classes=found.classes,
        splits=split_images(inputs, found.labels, groups),
        augmented=True,
        notes=(*found.notes, *notes),
        **more,
    )


_Inputs = tuple[Any, Sequence[str], Mapping[str, Any]]  # inputs, notes, and fields of a `Source`


def _read_sounds(
    root: Path, paths: Sequence[Path], settings: LoadSettings, *, usable: bool
) -> _Inputs:
    if not usable:
        unusable = [each for each in examine_sounds(paths) if isinstance(each, Unusable)]
        raise DataError(*describe_unusable(unusable))
    inputs, form, notes = read_sounds(paths, settings)
    return inputs, notes, {"sound": form}


def _read_images(
    root: Path, paths: Sequence[Path], settings: LoadSettings, *, usable: bool
) -> _Inputs:
    def decode() -> Decoder:
        return Decoder([picture_file(path) for path in paths], settings.image_size)

    if not usable:
        for _ in decode().chunks():
            pass
        raise DataError  # the pictures are fine, and the folder is not
    cache = ImageCache(root, paths, {"image_size": settings.image_size})
    pixels, white, notes = cache.images(decode)
    return pixels, notes, {"flip": True, "facts": cache, "white": white}


def _split_folders(root: Path) -> tuple[dict[str, Path], list[str]]:
    """Finds the folder of each split, and notes others; without splits the root is `train`."""
    present = _subfolders(root)
    found = {
        split: sorted(name for name in present if name.lower() in names)
        for split, names in SPLITS.items()
    }
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


def _entries(folder: Path, nested: bool) -> Iterator[Path]:
    """Lists the entries of a class folder, sorted.

    Args:
        folder: The folder of the class.
        nested: Lists those of folders inside it in their place.
    """
    if not folder.is_dir():
        return
    entries = (entry for entry in folder.iterdir() if not _is_hidden(entry))
    for entry in sorted(entries, key=lambda entry: entry.name):
        if nested and entry.is_dir():
            yield from _entries(entry, nested=False)
        else:
            yield entry


def _is_of(medium: Medium, path: Path) -> bool:
    return path.suffix.lower() in MEDIA[medium] and path.is_file()


def _most_common_medium(paths: Iterable[Path]) -> Medium:
    counts = Counter(medium for path in paths for medium in MEDIA if _is_of(medium, path))
    return "recordings" if counts["recordings"] > counts["images"] else "images"


def _describe_nested(ignored: Sequence[Path], medium: Medium) -> list[str]:
    """Words how many files lie in folders inside class folders."""
    folders = [path for path in ignored if path.is_dir()]
    inside = sum(_is_of(medium, file) for folder in folders for file in _entries(folder, False))
    if not inside:
        return []
    return [
        f"{inside:,} {medium} are not used, because they are in folders inside class folders, "
        f"such as {folders[0]}: take them with --groups folders, or move them up"
    ]


def _describe_ignored(ignored: Sequence[Path], medium: Medium) -> list[str]:
    """Words what else class folders hold."""
    if not (files := [path for path in ignored if not path.is_dir()]):
        return []
    return [
        f"{len(files):,} entries of class folders ignored, such as {files[0].name}: they are no "
        f"{medium}"
    ]


def _own_files(folder: Path) -> str:
    """Words the files that lie beside class folders, or where these should be."""
    for medium in MEDIA:
        if count := sum(_is_of(medium, path) for path in _entries(folder, False)):
            return f", and {count:,} {medium} of its own: sort them into a folder for each class"
    likely = _likely_meant(folder)
    return f": {likely[0]}" if likely else ""


def _likely_meant(root: Path) -> list[str]:
    """Suggests a folder inside that has class folders, where the class folders have no files."""
    for folder in sorted(_subfolders(root)):
        inner = root / folder
        for likely in (inner, *(inner / name for name in sorted(_subfolders(inner)))):
            classes = [name for name in _subfolders(likely) if _holds_files(likely / name)]
            if len(classes) > 1 and not _holds_files(likely):
                return [f"{likely} has {len(classes)} class folders: did you mean that folder?"]
    return []


def _holds_files(folder: Path) -> bool:
    return any(_is_of(medium, path) for path in _entries(folder, False) for medium in MEDIA)


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
