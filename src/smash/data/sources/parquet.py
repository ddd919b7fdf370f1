"""Tables with a column of images, as Hugging Face `datasets` writes them.

A folder that ``save_to_disk`` made, a Parquet file, or a folder of Parquet files whose names begin
with their split (``train-00000-of-00001.parquet``, right there or in ``data``). One column holds
images as the bytes of image files, one the labels: a ``ClassLabel``, or whole numbers or words
called ``label``. Nothing is downloaded, and no path in a table is followed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from smash.data.dataset import Source
from smash.data.sources.arrays import read_labels
from smash.data.sources.folder import SPLITS
from smash.data.sources.image_cache import ImageCache
from smash.data.sources.images import FORMATS, Decoder, Picture
from smash.data.splits import check_classes, share_out
from smash.errors import DataError, MissingExtraError, RunStateError, shortened
from smash.io.files import read_json

_ROWS = 256
_LABELS = ("label", "labels", "class", "target")
_MEND = "add rows or leave the class out"
_SAVED = ("dataset_dict.json", "state.json")


def is_table(path: Path) -> bool:
    """Whether this is such a file or folder."""
    return _is_saved(path) or bool(_parquet_files(path))


def read_table(path: Path, image_size: int | None) -> Source:
    """Reads a saved data set or Parquet files.

    Args:
        path: The folder or file.
        image_size: Side to which images are resized, in pixels; see `Decoder`.

    Raises:
        DataError: It cannot be read, or lacks a column of images or of labels.
        MissingExtraError: The packages that read it are not installed.
    """
    try:
        import datasets
        import pyarrow
    except ImportError:
        raise MissingExtraError(
            f"{path} is a table of images, which the package 'datasets' reads, and it is not "
            "installed: install it with pip install 'smash-nas[hf]'"
        ) from None
    try:
        tables = _saved_tables(path) if _is_saved(path) else _parquet_tables(path)
        columns = {_columns(table, datasets) for table in tables.values()}
        if len(columns) > 1:
            raise DataError(f"{path} must have the same columns in each split")
        ((image, label),) = columns
        classes, labels = _labels(path, tables, label)
        check_classes(classes, labels, _MEND)
        cache = ImageCache(
            path,
            [file for table in tables.values() for file in table.files],
            {"image_size": image_size, "column": image, "splits": list(tables)},
        )
        pictures = _Pictures(list(tables.values()), image)
        images, notes = cache.images(partial(Decoder, pictures, image_size))
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        # What pyarrow says of a damaged file is an error of the system too, but without a number.
        if isinstance(error, DataError) or getattr(error, "errno", None):
            raise
        raise _unreadable(path, error) from None
    splits = share_out(images, labels)
    return Source(
        classes=classes,
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        flip=True,
        augmented=True,
        notes=notes,
        facts=cache,
    )


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(f"{path} cannot be read as a table ({reason}): save it again")


@dataclass(frozen=True)
class _Table:
    """The rows of a split.

    Attributes:
        name: The split.
        files: The files they are in.
        features: Types of the columns by name, as `datasets` has them.
        rows: Gives values of one column, some at a time.
    """

    name: str
    files: Sequence[Path]
    features: Mapping[str, Any]
    rows: Callable[[str], Iterator[list[Any]]]


@dataclass(frozen=True)
class _Pictures:
    """The images of tables, read anew each time they are gone through."""

    tables: Sequence[_Table]
    column: str

    def __iter__(self) -> Iterator[Picture]:
        for table in self.tables:
            number = 0
            for values in table.rows(self.column):
                for value in values:
                    yield Picture(f"row {number} of the {table.name} split", partial(_open, value))
                    number += 1


def _open(value: Any) -> Image.Image:
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        raise ValueError("it holds no image; a path alone is not followed")
    return Image.open(io.BytesIO(content), formats=FORMATS)


def _is_saved(path: Path) -> bool:
    return any((path / name).is_file() for name in _SAVED)


def _parquet_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    folders = [path, path / "data", *(path / name for names in SPLITS.values() for name in names)]
    return [file for folder in folders for file in sorted(folder.glob("*.parquet"))]


def _check_names(path: Path) -> None:
    """Makes sure that a saved data set names no file outside its folder.

    Raises:
        DataError: It does, or its description cannot be read.
    """
    try:
        several = path / _SAVED[0]
        splits = read_json(several)["splits"] if several.is_file() else ["."]
        names = [
            *(name for name in splits if name != "."),
            *(
                entry["filename"]
                for split in splits
                if _is_plain(split) or split == "."
                for entry in read_json(path / split / _SAVED[1])["_data_files"]
            ),
        ]
    except (RunStateError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from None
    if odd := [name for name in names if not _is_plain(name)]:
        raise DataError(
            *shortened(f"{path} must name files of its own folder, names {name!r}" for name in odd)
        )


def _is_plain(name: Any) -> bool:
    """Whether it is a name right in a folder, that leads nowhere else."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _saved_tables(path: Path) -> dict[str, _Table]:
    import datasets

    _check_names(path)
    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:  # it raises whatever a damaged description leads it to
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise
        raise _unreadable(path, error) from None
    splits = found if isinstance(found, dict) else {"train": found}
    tables = {}
    for given, rows in splits.items():
        name = _split_name(given)
        if name is None or name in tables:
            raise DataError(
                f"{path} must hold splits train, validation and test, got {', '.join(splits)}"
            )
        files = sorted(file for file in (path / given).glob("*") if file.is_file())
        tables[name] = _Table(
            name,
            files or sorted(file for file in path.glob("*") if file.is_file()),
            rows.features,
            partial(_saved_rows, rows),
        )
    return _ordered(path, tables)


def _saved_rows(rows: Any, column: str) -> Iterator[list[Any]]:
    for some in rows.select_columns([column]).with_format("arrow").iter(_ROWS):
        some.validate(full=True)  # the file is mapped: a wrong offset would lead out of it
        yield some[column].to_pylist()


def _parquet_tables(path: Path) -> dict[str, _Table]:
    import datasets
    import pyarrow.parquet as pq

    files = _parquet_files(path)
    by_split: dict[str, list[Path]] = {}
    for file in files:
        named = [_split_name(part) for part in file.relative_to(path).parts]
        split = next((name for name in named if name), "train")
        by_split.setdefault(split, []).append(file)
    tables = {}
    for name, own in by_split.items():
        features = datasets.Features.from_arrow_schema(pq.read_schema(own[0]))
        tables[name] = _Table(name, own, features, partial(_parquet_rows, own))
    return _ordered(path, tables)


def _parquet_rows(files: Sequence[Path], column: str) -> Iterator[list[Any]]:
    import pyarrow.parquet as pq

    for file in files:
        with pq.ParquetFile(file) as table:
            for some in table.iter_batches(_ROWS, columns=[column]):
                some.validate(full=True)
                yield some.column(0).to_pylist()


def _split_name(text: str) -> str | None:
    """The split that a name begins with: ``validation-00000-of-00002.parquet`` is ``val``."""
    for split, names in SPLITS.items():
        if re.match(rf"({'|'.join(names)})(?![a-z])", text):
            return split
    return None


def _ordered(path: Path, tables: Mapping[str, _Table]) -> dict[str, _Table]:
    if "train" not in tables:
        raise DataError(f"{path} must hold a train split, and holds {', '.join(tables)}: add it")
    return {name: tables[name] for name in SPLITS if name in tables}


def _columns(table: _Table, datasets: Any) -> tuple[str, str]:
    """The columns of images and of labels.

    Raises:
        DataError: There is none or more than one.
    """
    features = table.features
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    images = images or [name for name, kind in features.items() if _holds_bytes(kind)]
    labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    labels = labels or [name for name in features if name in _LABELS]
    faults = [
        f"the {table.name} split must have one column of {what}, found "
        f"{', '.join(map(repr, found)) or 'none'} among {', '.join(map(repr, features))}: {mend}"
        for what, found, mend in (
            ("images", images, "save the images as a column of type Image"),
            ("labels", labels, "save one column of type ClassLabel, and leave out others"),
        )
        if len(found) != 1
    ]
    if faults:
        raise DataError(*faults)
    return images[0], labels[0]


def _holds_bytes(kind: Any) -> bool:
    if isinstance(kind, Mapping):
        return "bytes" in kind
    return getattr(kind, "dtype", None) in ("binary", "large_binary")


def _labels(
    path: Path, tables: Mapping[str, _Table], column: str
) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Names of the classes, and the labels of each split."""
    values = {
        name: [value for some in table.rows(column) for value in some]
        for name, table in tables.items()
    }
    faults = [
        f"{path}: row {row} of the {name} split has no label: give it one or remove it"
        for name, own in values.items()
        for row, value in enumerate(own)
        if value is None
    ]
    if faults:
        raise DataError(*shortened(faults))
    together = [value for own in values.values() for value in own]
    names = getattr(tables["train"].features[column], "names", None)
    if all(isinstance(value, str) for value in together):
        names = sorted(set(together))
        numbers = {name: number for number, name in enumerate(names)}
        together = [numbers[value] for value in together]
    arrays = {"data": np.empty(len(together)), "labels": np.asarray(together)}
    if names:
        arrays["classes"] = np.asarray(names)
    try:
        classes, labels = read_labels(arrays)
    except DataError as error:
        raise DataError(*(f"{path}: {fault}" for fault in error.faults)) from None
    parts = torch.split(labels["train"], [len(own) for own in values.values()])
    return classes, dict(zip(values, parts, strict=True))
