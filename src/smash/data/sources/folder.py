"""A folder of class folders, with or without ``train``, ``val`` and ``test``.

Classes are named after their folders, in sorted order. Hidden files and folders are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from smash.data.dataset import Source
from smash.data.sources.image_cache import ImageCache
from smash.data.sources.images import EXTENSIONS, Decoder, picture_file
from smash.data.splits import check_classes, share_out
from smash.errors import DataError, collecting

SPLITS = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
"""Names that each split goes by."""


@dataclass(frozen=True)
class Listing:
    """The files of a folder; none of them was looked into.

    Attributes:
        classes: Names of the classes, in the order of the labels.
        paths: Image files of each split, a class after another.
        labels: Their classes, shape ``(n,)``, int64.
        ignored: What lies beside the images and is no image file.
        notes: What was passed over, one sentence each.
        faults: What is wrong with the classes.
    """

    classes: tuple[str, ...]
    paths: dict[str, list[Path]]
    labels: dict[str, torch.Tensor]
    ignored: list[Path]
    notes: tuple[str, ...]
    faults: tuple[str, ...]


def list_folder(root: Path) -> Listing:
    """Lists a folder of images.

    Args:
        root: A folder of class folders, or of split folders that hold class folders each.

    Raises:
        DataError: The folder is not laid out so.
    """
    folders, notes = _split_folders(root)
    names = {split: _subfolders(folder) for split, folder in folders.items()}
    faults = [
        f"{folders[split]} must hold a folder of images for each class, and holds no folder"
        for split in folders
        if not names[split]
    ]
    if faults:
        raise DataError(*faults)
    classes = tuple(sorted(set().union(*names.values())))

    paths: dict[str, list[Path]] = {}
    labels: dict[str, torch.Tensor] = {}
    ignored: list[Path] = []
    for split, folder in folders.items():
        of_split: list[int] = []
        paths[split] = []
        for label, name in enumerate(classes):
            files, others = _image_files(folder / name)
            paths[split] += files
            of_split += [label] * len(files)
            ignored += others
        labels[split] = torch.tensor(of_split, dtype=torch.int64)
    if ignored:
        notes.append(f"{len(ignored)} entries of class folders ignored, which are not image files")
    with collecting(faults):
        check_classes(
            classes, labels, f"put images ({' '.join(sorted(EXTENSIONS))}) right into its folder"
        )
    return Listing(classes, paths, labels, ignored, tuple(notes), tuple(faults))


def read_folder(root: Path, image_size: int | None) -> Source:
    """Reads a folder of images.

    Args:
        root: See `list_folder`.
        image_size: Side to which images are resized, in pixels; see `Decoder`.

    Raises:
        DataError: The folder is not laid out so, a class is missing, or files are unusable.
    """
    found = list_folder(root)
    paths = [path for of_split in found.paths.values() for path in of_split]
    faults = list(found.faults)

    def decode() -> Decoder:
        return Decoder([picture_file(path) for path in paths], image_size)

    cache = ImageCache(root, paths, {"image_size": image_size})
    with collecting(faults):
        if faults:  # nothing to keep: only to name the files that cannot be used either
            decode().check()
        else:
            images, image_notes = cache.images(decode)
    if faults:
        raise DataError(*faults)

    splits = share_out(images, found.labels)
    return Source(
        classes=found.classes,
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        flip=True,
        augmented=True,
        notes=(*found.notes, *image_notes),
        facts=cache,
    )


def _split_folders(root: Path) -> tuple[dict[str, Path], list[str]]:
    """The folder of each split, and notes; the root itself is `train` where it has no splits."""
    present = _subfolders(root)
    found = {split: [name for name in names if name in present] for split, names in SPLITS.items()}
    found = {split: names for split, names in found.items() if names}
    if not found:
        return {"train": root}, []
    faults = [
        f"{root} must hold one folder of its {split} split, and holds {' and '.join(names)}: "
        f"keep one of them"
        for split, names in found.items()
        if len(names) > 1
    ]
    if "train" not in found:
        faults.append(
            f"{root} must hold a folder 'train', because it holds "
            f"{' and '.join(name for names in found.values() for name in names)}: add it"
        )
    if faults:
        raise DataError(*faults)
    folders = {split: root / names[0] for split, names in found.items()}
    others = present - {folder.name for folder in folders.values()}
    notes = [f"folders beside the splits ignored: {', '.join(sorted(others))}"] if others else []
    return folders, notes


def _subfolders(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry)}


def _image_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The image files of a class and what else its folder has, both sorted."""
    if not folder.is_dir():
        return [], []
    entries = sorted(
        (entry for entry in folder.iterdir() if not _hidden(entry)), key=lambda entry: entry.name
    )
    images: list[Path] = []
    others: list[Path] = []
    for entry in entries:
        is_image = entry.suffix.lower() in EXTENSIONS and entry.is_file()
        (images if is_image else others).append(entry)
    return images, others


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")
