"""Tables with a column of images, as Hugging Face `datasets` writes them.

A table is a folder made by ``save_to_disk``, a Parquet file, or a folder of Parquet files whose
names begin with their split (``train-00000-of-00001.parquet``, right there or in ``data``). One
column holds the bytes of image files. Another holds labels: a ``ClassLabel``, or whole numbers or
words called ``label``. A third one may name groups. Nothing is downloaded, and paths in a table are
not followed.
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
from PIL import Image
from torch import Tensor

from smash.config import LoadSettings
from smash.data.dataset import Source
from smash.data.sources.arrays import read_labels
from smash.data.sources.folder import SPLITS
from smash.data.sources.image_cache import ImageCache
from smash.data.sources.images import FORMATS, Decoder, Picture
from smash.data.sources.series import windows_of
from smash.data.splits import number_groups, split_images
from smash.errors import (
    DataError,
    InvalidValueError,
    MissingExtraError,
    RunStateError,
    listed,
    reason_of,
    shortened,
    unknown,
)
from smash.io.files import read_json
from smash.runtime.memory import main_memory

_ROWS = 256
_LABELS = ("label", "labels", "class", "target")
_SAVED = ("dataset_dict.json", "state.json")
_WORDS = ("string", "large_string")
_MOST_LABEL_BYTES = 2**26  # of a column of words
_LONGEST_WORD = 1000  # bytes


def is_table(path: Path) -> bool:
    """Says whether a path is such a file or folder."""
    return _is_saved(path) or bool(_parquet_files(path))


def read_table(path: Path, settings: LoadSettings) -> Source:
    """Reads a saved data set or Parquet files.

    Args:
        path: The folder or file.
        settings: Size of the images; `groups` names the column of groups. Of a file of time
            series those of `smash.data.sources.series`.

    Raises:
        DataError: It cannot be read, or lacks a column of images or of labels.
        MissingExtraError: The packages that read it are not installed.
    """
    try:
        import datasets
        import pyarrow
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError(
            f"{path} is a table, which needs the package 'datasets', and it is not "
            "installed: pip install 'smash-nas[hf]'"
        ) from None
    try:
        if path.is_file() and not any(map(_holds_images, pq.read_schema(path))):
            return windows_of(path, _read_columns(path), settings)
        tables = _saved_tables(path) if _is_saved(path) else _parquet_tables(path)
        columns = {_columns(table, datasets) for table in tables.values()}
        if len(columns) > 1:
            raise DataError(f"{path} must have the same columns in each split")
        ((image, label),) = columns
        classes, labels = _labels(path, tables, label)
        groups = _groups(path, tables, settings.groups)
        cache = ImageCache(
            path,
            [file for table in tables.values() for file in table.files],
            {"image_size": settings.image_size, "column": image, "splits": list(tables)},
        )
        pictures = _Pictures(list(tables.values()), image)
        images, white, notes = cache.images(partial(Decoder, pictures, settings.image_size))
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        # pyarrow raises OSError on damaged files too, but without a number.
        if isinstance(error, DataError | InvalidValueError) or getattr(error, "errno", None):
            raise
        raise _unreadable(path, error) from None
    return Source(
        classes=classes,
        splits=split_images(images, labels, groups),
        flip=True,
        augmented=True,
        notes=notes,
        facts=cache,
        white=white,
    )


def _holds_images(field: Any) -> bool:
    """Tells whether a column may hold images: bytes, or a structure with them."""
    import pyarrow as pa

    kind = field.type
    tests = (pa.types.is_struct, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def _read_columns(path: Path) -> dict[str, Any]:
    """Reads a table of numbers and words; columns of anything else are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        size = sum(
            table.metadata.row_group(number).total_byte_size
            for number in range(table.metadata.num_row_groups)
        )
        if (memory := main_memory()) is not None and size > memory:
            raise DataError(f"{path} must fit in memory, but takes {size / 2**30:,.1f} GiB")
        content = table.read()
    content.validate(full=True)
    columns: dict[str, Any] = {}
    for field, column in zip(content.schema, content.columns, strict=True):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            columns[field.name] = column.to_numpy()
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            columns[field.name] = column.to_pylist()
    return columns


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read as a table ({reason_of(error)}): save it again")


@dataclass(frozen=True)
class _Table:
    """The rows of a split.

    Attributes:
        name: The split.
        files: The files of its rows.
        features: Types of the columns by name, as `datasets` has them.
        chunks: Yields a column as Arrow arrays of a few rows each.
    """

    name: str
    files: Sequence[Path]
    features: Mapping[str, Any]
    chunks: Callable[[str], Iterator[Any]]


@dataclass(frozen=True)
class _Pictures:
    """The images of tables, read anew in each iteration."""

    tables: Sequence[_Table]
    column: str

    def __iter__(self) -> Iterator[Picture]:
        for table in self.tables:
            row = 0
            for chunk in table.chunks(self.column):
                for value in chunk.to_pylist():
                    content = value.get("bytes") if isinstance(value, dict) else value
                    size = len(content) if isinstance(content, bytes) else 0
                    name = f"row {row} of the {table.name} split"
                    yield Picture(name, partial(_open, content), partial(int, size))
                    row += 1


def _open(content: Any) -> Image.Image:
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
    """Checks that a saved data set names no file outside its folder.

    Raises:
        DataError: It does, or its description cannot be read.
    """
    try:
        description = path / _SAVED[0]
        splits = read_json(description)["splits"] if description.is_file() else ["."]
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
    """Says whether a name is that of an entry of the folder itself."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _saved_tables(path: Path) -> dict[str, _Table]:
    import datasets

    _check_names(path)
    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:  # it raises anything on a damaged description
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise
        raise _unreadable(path, error) from None
    splits = found if isinstance(found, dict) else {"train": found}
    tables = {}
    for folder, rows in splits.items():
        name = _split_name(folder)
        if name is None or name in tables:
            raise DataError(
                f"{path} must have splits train, validation and test, has {listed(splits)}"
            )
        files = sorted(file for file in (path / folder).glob("*") if file.is_file())
        files = files or sorted(file for file in path.glob("*") if file.is_file())
        tables[name] = _Table(name, files, rows.features, partial(_saved_chunks, rows))
    return _in_order(path, tables)


def _saved_chunks(rows: Any, column: str) -> Iterator[Any]:
    for chunk in rows.select_columns([column]).with_format("arrow").iter(_ROWS):
        chunk.validate(full=True)  # the file is mapped: a wrong offset would lead out of it
        yield chunk[column]


def _parquet_tables(path: Path) -> dict[str, _Table]:
    import datasets
    import pyarrow.parquet as pq

    by_split: dict[str, list[Path]] = {}
    for file in _parquet_files(path):
        names = [_split_name(part) for part in file.relative_to(path).parts]
        by_split.setdefault(next((name for name in names if name), "train"), []).append(file)
    tables = {}
    for name, files in by_split.items():
        features = datasets.Features.from_arrow_schema(pq.read_schema(files[0]))
        tables[name] = _Table(name, files, features, partial(_parquet_chunks, files, features))
    return _in_order(path, tables)


def _parquet_chunks(
    files: Sequence[Path], features: Mapping[str, Any], column: str
) -> Iterator[Any]:
    import pyarrow.parquet as pq

    # Read as a dictionary, a word that many rows share is in memory once.
    words = [column] if getattr(features[column], "dtype", None) in _WORDS else None
    for file in files:
        with pq.ParquetFile(file, read_dictionary=words) as table:
            if words:
                _check_unpacked(file, table.metadata, column)
            for chunk in table.iter_batches(_ROWS, columns=[column]):
                chunk.validate(full=True)
                yield chunk.column(0)


def _check_unpacked(file: Path, metadata: Any, column: str) -> None:
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(number) for group in groups for number in range(group.num_columns))
    size = sum(each.total_uncompressed_size for each in columns if each.path_in_schema == column)
    if size > _MOST_LABEL_BYTES:
        raise DataError(
            f"{file}: column {column!r:.100} must unpack to at most {_MOST_LABEL_BYTES:,} bytes, "
            f"takes {size:,}: use shorter words or whole numbers"
        )


def _split_name(text: str) -> str | None:
    """Finds the split of a name: ``Photos_validation-00000-of-00002.parquet`` is of ``val``."""
    for split, names in SPLITS.items():
        if re.search(rf"(?<![a-z])({'|'.join(names)})(?![a-z])", text.lower()):
            return split
    return None


def _in_order(path: Path, tables: Mapping[str, _Table]) -> dict[str, _Table]:
    if "train" not in tables:
        raise DataError(f"{path} must have a train split, has {listed(tables)}: add it")
    return {name: tables[name] for name in SPLITS if name in tables}


def _columns(table: _Table, datasets: Any) -> tuple[str, str]:
    """Finds the columns of images and of labels.

    Raises:
        DataError: There is none, or more than one.
    """
    features = table.features
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    images = images or [name for name, kind in features.items() if _holds_bytes(kind)]
    labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    labels = labels or [name for name in features if name in _LABELS]
    faults = [
        f"the {table.name} split must have one column of {what}, found "
        f"{listed(map(repr, found))} among {listed(map(repr, features))}: {advice}"
        for what, found, advice in (
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


def _values(path: Path, tables: Mapping[str, _Table], column: str) -> dict[str, list[Any]]:
    """Reads a column of numbers or words, by split.

    Raises:
        DataError: Words are too long, or rows have no value.
    """
    values: dict[str, list[Any]] = {}
    for name, table in tables.items():
        values[name] = []
        for chunk in table.chunks(column):
            _check_words(path, column, chunk)
            values[name] += chunk.to_pylist()
    faults = [
        f"{path}: row {row} of the {name} split has no {column!r:.100}: add it or remove the row"
        for name, own in values.items()
        for row, value in enumerate(own)
        if value is None
    ]
    if faults:
        raise DataError(*shortened(faults))
    return values


def _check_words(path: Path, column: str, chunk: Any) -> None:
    """Checks the length of words before each row gets a copy of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for array in getattr(chunk, "chunks", [chunk]):
        words = array.dictionary if pa.types.is_dictionary(array.type) else array
        if pa.types.is_string(words.type) or pa.types.is_large_string(words.type):
            longest = pc.max(pc.binary_length(words)).as_py() or 0
            if longest > _LONGEST_WORD:
                raise DataError(
                    f"{path}: column {column!r:.100} must hold words of at most {_LONGEST_WORD:,} "
                    f"bytes, has one of {longest:,}: use shorter words or whole numbers"
                )
        elif pa.types.is_nested(words.type):
            raise DataError(
                f"{path}: column {column!r:.100} must hold whole numbers or words, holds "
                f"{words.type}"
            )


def _labels(
    path: Path, tables: Mapping[str, _Table], column: str
) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Reads the names of the classes, and the labels of each split."""
    values = _values(path, tables, column)
    names = getattr(tables["train"].features[column], "names", None)
    words = {value for own in values.values() for value in own}
    if all(isinstance(word, str) for word in words):
        names = sorted(words)
        numbers = {name: number for number, name in enumerate(names)}
        values = {split: [numbers[value] for value in own] for split, own in values.items()}
    try:
        return read_labels(
            {split: np.asarray(own) for split, own in values.items()},
            np.asarray(names) if names else None,
        )
    except DataError as error:
        raise DataError(*(f"{path}: {fault}" for fault in error.faults)) from None


def _groups(
    path: Path, tables: Mapping[str, _Table], column: str | None
) -> dict[str, Tensor] | None:
    if column is None:
        return None
    features = tables["train"].features
    if column not in features:
        raise InvalidValueError(f"groups: {unknown('column', column, features)}")
    return number_groups(_values(path, tables, column))
