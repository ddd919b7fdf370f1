"""Loading of data sets: from a name, a path or arrays to examples in three splits."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch.utils.data import Dataset

from smash.config import DataSettings, LoadSettings, fold_numbers
from smash.data.batches import batches
from smash.data.dataset import Data, Source, Split
from smash.data.duplicates import count_duplicates, describe_duplicates, drop_duplicates
from smash.data.names import DATASETS, check_source, reader_of
from smash.data.sources.arrays import read_archive
from smash.data.sources.folder import read_folder
from smash.data.sources.memory import IN_MEMORY, read_memory
from smash.data.sources.parquet import is_table, read_table
from smash.data.sources.series import SERIES_SUFFIXES, read_series
from smash.data.splits import (
    TEST_SEED,
    VAL_SEED,
    check_groups,
    cut,
    cut_fold,
    cut_last,
    describe_groups,
)
from smash.data.transforms import Augmentation, channel_statistics
from smash.errors import DataError, InvalidValueError, SmashError, collecting
from smash.io.text import is_utf8, printable

Kind = Literal["name", "folder", "archive", "table", "series", "memory"]

_READERS: dict[Kind, Callable[[Any, LoadSettings], Source]] = {
    "memory": read_memory,
    "folder": lambda path, settings: read_folder(Path(path), settings),
    "table": lambda path, settings: read_table(Path(path), settings),
    "series": lambda path, settings: read_series(Path(path), settings),
    "archive": lambda path, settings: read_archive(Path(path), settings),
}
_USES: dict[str, tuple[tuple[Kind, ...], str]] = {
    "image_size": (("folder", "table", "memory"), "folders of images"),
    "features": (("folder",), "folders of recordings"),
    "sample_rate": (("folder",), "folders of recordings"),
    "seconds": (("folder",), "folders of recordings"),
    "dims": (("archive", "memory"), ".npz files"),
    "channels": (("archive", "memory"), ".npz files"),
    "window": (("series", "table"), "tables of time series"),
    "stride": (("series", "table"), "tables of time series"),
    "label": (("series", "table"), "tables of time series"),
    "columns": (("series", "table"), "tables of time series"),
    "groups": (("folder", "table", "series"), "folders and tables"),
    "group_pattern": (("folder",), "folders"),
    "data_dir": ((), "named data sets that come in files"),
    "fold": ((), "'stl10'"),
}
_CHUNK = 2**24  # bytes hashed at a time


def load_data(
    source: str | Path | tuple[Any, Any] | Mapping[str, Any] | Dataset[Any],
    settings: LoadSettings | None = None,
    **changes: Any,
) -> Data:
    """Loads a data set.

    A split that the source lacks is cut from the training examples, stratified by class and in
    whole groups: first test, then validation from the rest. A cut depends on the data and on these
    settings alone, so all runs are judged on the same examples.

    Args:
        source: A name in `DATASETS`; a folder of class folders of images or recordings, with or
            without ``train``, ``val`` and ``test`` above them; an ``.npz`` file
            (`smash.data.sources.arrays`); a CSV or Parquet file of time series
            (`smash.data.sources.series`); a data set that Hugging Face `datasets` saved, or Parquet
            (`smash.data.sources.parquet`); arrays ``(data, labels)`` or
            ``{"data": …, "labels": …}``; or a torch `Dataset` (`smash.data.sources.memory`).
        settings: How data is read and cut.
        **changes: Fields of `LoadSettings`.

    Raises:
        DataError: The data cannot be read or learned from.
        NotFoundError: A path does not exist.
        MissingExtraError: A package that reads such data is not installed.
        InvalidValueError: A setting is wrong or does not fit the source, or a name is not known.

    Example:
        >>> data = load_data("digits", val_fraction=0.2)
        >>> len(data.train), len(data.val), len(data.test)
        (1222, 306, 269)
    """
    kind = kind_of(source)
    name = IN_MEMORY if kind == "memory" else str(source)
    faults: list[str] = []
    with collecting(faults):
        settings = LoadSettings.merged(settings, changes)
    faults += _unsuited(name, kind, {**(settings.given() if settings else {}), **changes})
    if faults or settings is None:
        raise InvalidValueError(*faults)
    found = _read(source, kind, settings)
    splits, notes = _cut(found, settings)
    if settings.drop_duplicates:
        splits, more = drop_duplicates(splits, found.classes)
        notes += more
    facts = _facts(found, splits)
    duplicates = describe_duplicates(facts["duplicates"], splits)
    return Data(
        name=name,
        **splits,
        classes=found.classes,
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        augmentation=_augmentation(found, settings.augment),
        notes=(*found.notes, *notes, *([duplicates] if duplicates else ())),
        settings=DataSettings(
            source=name,
            fingerprint=str(facts["fingerprint"]),
            duplicates=duplicates,
            **settings.model_dump(),
        ),
        sound=found.sound,
        white=found.white,
    )


def kind_of(source: object) -> Kind:
    """Determines the kind of a source.

    Raises:
        NotFoundError: A path does not exist.
        InvalidValueError: A name is not known, or a path is not UTF-8.
    """
    if not isinstance(source, str | Path):
        return "memory"
    path = Path(source)
    if str(source) in DATASETS:
        return "name"
    if not is_utf8(source):
        raise InvalidValueError(f"path {printable(source)} must be UTF-8: rename it")
    check_source(source)
    if is_table(path):
        return "table"
    if path.suffix.lower() in SERIES_SUFFIXES and path.is_file():
        return "series"
    return "folder" if path.is_dir() else "archive"


def _parameters(name: str, kind: Kind) -> Mapping[str, Any]:
    """Gives the parameters of the reader of a named data set."""
    return inspect.signature(reader_of(name)).parameters if kind == "name" else {}


def _unsuited(name: str, kind: Kind, given: Mapping[str, Any]) -> list[str]:
    """Finds settings that the source has no use for."""
    parameters = _parameters(name, kind)
    return [
        f"{setting} is for {use}: leave it out for {name!r}, got {given[setting]}"
        for setting, (kinds, use) in _USES.items()
        if given.get(setting) not in (None, ()) and kind not in kinds and setting not in parameters
    ]


def _read(source: Any, kind: Kind, settings: LoadSettings) -> Source:
    try:
        if kind == "name":
            wanted = {name: getattr(settings, name) for name in _parameters(source, kind)}
            return reader_of(str(source))(**wanted)
        return _READERS[kind](source, settings)
    except OSError as error:
        if isinstance(error, SmashError):
            raise
        raise DataError(
            f"{error.filename or source} cannot be read ({error.strerror or error}): "
            "give this user the permission to read it"
        ) from None


def _cut(found: Source, settings: LoadSettings) -> tuple[dict[str, Split], list[str]]:
    """Cuts the splits that a source lacks, and notes how."""
    splits, notes = dict(found.splits), []
    missing = [name for name in ("test", "val") if name not in splits]
    _check_cuts(settings, missing)
    grouped = splits["train"].groups is not None
    if grouped:
        if settings.val_order == "last":
            raise InvalidValueError(
                "val_order must be 'stratified' for data with groups, got 'last': leave it out"
            )
        check_groups(found.classes, splits["train"], missing)
    how = "stratified, in whole groups" if grouped else "stratified"
    if "test" in missing:
        splits["train"], splits["test"], share = _cut_test(splits["train"], settings, len(missing))
        notes.append(_cut_note("test", f"{share} of the examples", splits["test"], how))
    if "val" in missing:
        if settings.val_order == "last":
            how = "the last ones"
            splits["train"], splits["val"] = cut_last(splits["train"], settings.val_fraction)
        else:
            splits["train"], splits["val"] = cut(
                splits["train"], settings.val_fraction, VAL_SEED, keep=1
            )
        share = f"{100 * settings.val_fraction:g}% of the training examples"
        notes.append(_cut_note("validation", share, splits["val"], how))
    splits = {name: splits[name] for name in ("train", "val", "test")}
    return splits, [*notes, *describe_groups(splits)]


def _check_cuts(settings: LoadSettings, missing: Sequence[str]) -> None:
    """Checks that only splits that the source lacks are asked to be cut.

    Raises:
        InvalidValueError: Others are.
    """
    asked = {"test_fold": "test", "test_fraction": "test", "val_fraction": "val"}
    faults = [
        f"{name} is for data without a {split} split: leave it out, got {value}"
        for name, split in asked.items()
        if split not in missing
        and (value := getattr(settings, name)) != LoadSettings.model_fields[name].default
    ]
    if faults:
        raise InvalidValueError(*faults)


def _cut_test(train: Split, settings: LoadSettings, keep: int) -> tuple[Split, Split, str]:
    """Cuts the test split; gives the rest, the split, and its share in words."""
    if settings.test_fold is None:
        share = f"{100 * settings.test_fraction:g}%"
        return *cut(train, settings.test_fraction, TEST_SEED, keep), share
    number, folds = fold_numbers(settings.test_fold)
    return *cut_fold(train, number, folds, TEST_SEED, keep), f"fold {settings.test_fold}"


def _cut_note(split: str, share: str, part: Split, how: str) -> str:
    return f"no {split} split found: {share} set apart, {how} ({len(part):,} examples)"


def _augmentation(found: Source, augment: bool | None) -> Augmentation:
    """Pads by an eighth of the shortest side, at most 4 pixels; flips where the source allows."""
    if not (found.augmented if augment is None else augment):
        return Augmentation()
    return Augmentation(min(4, min(found.splits["train"].stored.shape[2:]) // 8), found.flip)


def _facts(found: Source, splits: Mapping[str, Split]) -> dict[str, Any]:
    """Computes statistics of the channels, fingerprint and duplicates, or recalls them."""
    identity = hashlib.sha256(json.dumps([found.classes, *map(len, splits.values())]).encode())
    for split in splits.values():
        identity.update(split.labels.numpy().data)
        if split.rows is not None:
            identity.update(split.rows.numpy().data)
    name = identity.hexdigest()
    known: dict[str, Any] | None = found.facts.recall(name) if found.facts else None
    if known is None:
        train = splits["train"]
        mean, std = channel_statistics(train.stored, train.rows)
        known = {
            "mean": mean,
            "std": std,
            "fingerprint": _fingerprint(found.classes, splits),
            "duplicates": count_duplicates(splits),
        }
        if found.facts:
            found.facts.remember(name, known)
    return known


def _fingerprint(classes: tuple[str, ...], splits: Mapping[str, Split]) -> str:
    """Hashes classes, labels and decoded pixels of all splits."""
    shapes = [
        ((len(split) * split.views, *split.stored.shape[1:]), str(split.stored.dtype))
        for split in splits.values()
    ]
    digest = hashlib.sha256(json.dumps([classes, shapes]).encode())
    for split in splits.values():
        digest.update(split.labels.numpy().data)
        step = max(1, _CHUNK // (split.views * split.stored[0].nbytes))
        for batch in batches(split, step):
            digest.update(batch.images.numpy().data)
    return digest.hexdigest()
