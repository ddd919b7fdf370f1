"""Time series in a table, cut into windows: a row for each moment, a column for each channel.

Another column holds the label of each row. Columns such as ``subject`` or ``session`` say which
rows belong together: no window goes across their borders, nor across a change of the label, and one
of these columns groups the windows, so that no subject is in two splits.
"""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smash.config import LoadSettings
from smash.data.dataset import MIN_SIDE, Source, Split
from smash.data.splits import check_classes, number_groups
from smash.errors import DataError, InvalidValueError, listed, shortened, unknown
from smash.io.csv_tables import delimiter_of
from smash.runtime.memory import main_memory

SERIES_SUFFIXES = (".csv", ".tsv")
LABELS = ("label", "labels", "class", "target", "activity")
"""Names of a column of labels, in lower case."""

GROUPS = (
    *("group", "groups", "subject", "user", "person", "patient", "participant", "speaker"),
    *("session", "recording", "trial", "file"),
)
"""Names of columns of rows that belong together, in lower case; the first one groups windows."""

_NO_CHANNELS = frozenset(
    {"", "time", "timestamp", "time_s", "time_ms", "date", "datetime", "index", "row", "id", "t"}
)
_ROWS = 128
_MOST_WRONG = 10  # words among numbers that are told
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
MISSING = frozenset({"", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "None", "NULL", "null"})
"""Words that stand for a missing value, as pandas reads them."""

Columns = Mapping[str, Sequence[Any] | NDArray[Any]]


def read_series(path: Path, settings: LoadSettings) -> Source:
    """Reads a table of time series: a CSV file.

    Args:
        path: The file.
        settings: `window` and `stride` in rows, `label` and `groups` name columns, and `columns`
            are the channels.

    Raises:
        DataError: The table cannot be used.
        InvalidValueError: A column does not exist.
    """
    return windows_of(path, _read_csv(path, settings), settings)


def windows_of(path: Path, table: Columns, settings: LoadSettings) -> Source:
    """Cuts the columns of a table into windows.

    Args:
        path: The file, for messages.
        table: Columns by name, all of one length: numbers, or words.
        settings: See `read_series`.

    Raises:
        DataError: There are no windows of a class, or they do not fit in memory.
        InvalidValueError: A column does not exist.
    """
    label, groups, channels = _choose_columns(path, table, settings)
    borders = [name for name in table if name.lower() in GROUPS or name in (label, groups)]
    values = np.stack([_as_numbers(path, name, table[name]) for name in channels], 1)
    words = [str(word).strip() for word in table[label]]
    window = settings.window or _ROWS
    stride = settings.stride or max(1, window // 2)
    runs = _runs([table[name] for name in borders], len(words))
    starts = [start for first, end in runs for start in range(first, end - window + 1, stride)]
    owners = [str(owner).strip() for owner in table[groups]]
    labelled = [
        start for start in starts if words[start] not in MISSING and owners[start] not in MISSING
    ]
    _check_memory(len(labelled), len(channels), window)
    view = np.lib.stride_tricks.sliding_window_view(values, window, axis=0) if labelled else values
    finite = [start for start in labelled if np.isfinite(view[start]).all()]
    _check_labels(path, runs, words, {words[start] for start in finite}, window)
    classes = tuple(sorted({words[start] for start in finite}, key=_in_order))
    numbers = {name: number for number, name in enumerate(classes)}
    labels = torch.tensor([numbers[words[start]] for start in finite], dtype=torch.int64)
    advice = f"add rows, or choose a shorter --window (it is {window}) or --stride ({stride})"
    try:
        check_classes(classes, {"train": labels}, advice)
    except DataError as error:
        raise DataError(*(f"{path}: {fault}" for fault in error.faults)) from None
    unused = [name for name in table if name not in {*borders, *channels}]
    notes = [
        f"{len(finite):,} windows of {window} rows every {stride}, each of one label and within "
        f"one {' and '.join(map(repr, (name for name in borders if name != label)))}: see --window "
        "and --stride",
        f"channels: {listed(channels, 20)}; label: {label}; groups: {groups}; not used: "
        f"{listed(unused)} (--columns, --label, --groups)",
    ]
    if left_out := len(starts) - len(finite):
        notes.append(
            f"{left_out:,} windows left out, in which numbers, the label or the group are missing, "
            "or a number is beyond float32"
        )
    return Source(
        classes=classes,
        splits={
            "train": Split(
                torch.from_numpy(np.ascontiguousarray(view[finite], dtype=np.float32)),
                labels,
                groups=number_groups({"train": [owners[start] for start in finite]})["train"],
            )
        },
        notes=tuple(notes),
    )


def _choose_columns(
    path: Path, table: Iterable[str], settings: LoadSettings
) -> tuple[str, str, list[str]]:
    """Finds the columns of labels, groups and channels; words are no channels."""
    names = list(table)
    faults = [
        f"{setting}: {unknown('column', name, names)}"
        for setting, wanted in (
            ("label", [settings.label]),
            ("groups", [settings.groups]),
            ("columns", settings.columns),
        )
        for name in wanted
        if name is not None and name not in names
    ]
    if twice := sorted({name for name in settings.columns if settings.columns.count(name) > 1}):
        faults.append(f"columns must differ, got {listed(twice)} twice")
    if faults:
        raise InvalidValueError(*faults)
    label = settings.label or _first(names, LABELS)
    groups = settings.groups or _first(names, GROUPS)
    missing = [
        f"{path} must have a column of {what}, found {listed(names, 20)}: name it with {option}"
        for column, what, option in (
            (label, "labels", "--label"),
            (groups, "subjects or sessions (which stay in one split)", "--groups"),
        )
        if column is None
    ]
    if missing or label is None or groups is None:
        raise DataError(*missing)
    others = {label, groups}
    channels = list(settings.columns) or [
        name
        for name in names
        if name not in others
        and name.lower() not in _NO_CHANNELS.union(GROUPS, LABELS)
        and not name.startswith("Unnamed")
        and _is_numeric(table[name])  # type: ignore[index]
    ]
    if not channels:
        raise DataError(f"{path} must have a column of numbers, found {listed(names, 20)}")
    return label, groups, channels


def _first(names: Sequence[str], known: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in known if name in lower), None)


def _is_numeric(column: Sequence[Any] | NDArray[Any]) -> bool:
    if isinstance(column, np.ndarray):
        return column.dtype.kind in "biuf"
    return isinstance(column, array)


def _as_numbers(path: Path, name: str, column: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    if not _is_numeric(column):
        raise DataError(
            f"{path}: column {name!r} must hold numbers, holds "
            + (f"words such as {column[0]!r:.60}" if len(column) else "none")
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold counts as missing
        return np.asarray(column, dtype=np.float32)


def _runs(borders: Sequence[Iterable[Any]], rows: int) -> list[tuple[int, int]]:
    """Finds the runs of rows that have the same values in `borders`: their first row, and end."""
    changes = {
        row
        for column in borders
        for row, (before, after) in enumerate(pairwise(column), 1)
        if before != after and not (before != before and after != after)  # NaN
    }
    return list(pairwise([0, *sorted(changes), rows]))


def _check_labels(
    path: Path, runs: Sequence[tuple[int, int]], words: Sequence[str], found: Set[str], window: int
) -> None:
    """Checks that each label has a window: without one the network would never learn of it.

    Raises:
        DataError: Some have none.
    """
    longest: dict[str, int] = {}
    for first, end in runs:
        if first < end and words[first] not in MISSING:
            longest[words[first]] = max(end - first, longest.get(words[first], 0))
    faults = []
    for label in sorted(longest.keys() - found, key=_in_order):
        rows = longest[label]
        shorter = f"choose --window {rows} or less, or " if rows >= MIN_SIDE else ""
        faults.append(
            f"{path}: label {label!r} has no window of {window} rows: its longest run has {rows}; "
            f"{shorter}remove its rows"
            if rows < window
            else f"{path}: label {label!r} has no window of {window} rows without missing numbers "
            "or groups: choose a shorter --window, or remove its rows"
        )
    if faults:
        raise DataError(*shortened(faults))


def _in_order(name: str) -> tuple[bool, float, str]:
    """Sorts numbers by their value, before words."""
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name


def _check_memory(windows: int, channels: int, window: int) -> None:
    memory, size = main_memory(), 4 * windows * channels * window
    if memory is not None and size > memory:
        raise DataError(
            f"{windows:,} windows of {window} rows must fit in memory, but take "
            f"{size / 2**30:,.1f} GiB of {memory / 2**30:,.1f}: choose a longer --stride"
        )


def _read_csv(path: Path, settings: LoadSettings) -> dict[str, Sequence[Any]]:
    """Reads the columns of a CSV file: those of numbers as floats, NaN where empty."""
    names: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = delimiter_of(first)
            names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise DataError(
                    f"{path} must have different names of columns, has twice: {listed(twice)}"
                )
            words = {settings.label, settings.groups}
            words |= {name for name in names if name.lower() in (*LABELS, *GROUPS)}
            columns = {name: _Column(name, name in words) for name in names}
            read = [
                (place, columns[name])
                for place, name in enumerate(names)
                if not settings.columns or name in {*words, *settings.columns}
            ]
            faults: list[str] = []
            rows = 0
            for number, row in enumerate(csv.reader(file, delimiter=delimiter), 2):
                if not row:
                    continue
                rows += 1
                if len(row) != len(names):
                    faults.append(
                        f"{path}: row {number} must have {len(names)} values, has {len(row)}"
                    )
                    continue
                for place, column in read:
                    column.add(number, row[place].strip())
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} must be CSV in UTF-8 ({error}): save it again") from None
    if not names or not rows:
        raise DataError(f"{path} must have a line of names, and rows below it: add them")
    for column in columns.values():
        faults += [f"{path}: {fault}" for fault in column.faults(decimal_comma=delimiter != ",")]
    if faults:
        raise DataError(*shortened(faults))
    return {name: column.values for name, column in columns.items()}


class _Column:
    """A column of a CSV file: of numbers, if most of its values are, with NaN where they are not.

    Args:
        name: Its name.
        words: Whether it holds words whatever they look like.
    """

    def __init__(self, name: str, words: bool) -> None:
        self._name, self._words = name, words
        self._values: list[str] | array[float] = [] if words else array("d")
        self._wrong: list[tuple[int, str]] = []  # the first words among numbers, and their rows
        self._balance = 0  # numbers minus words

    def add(self, row: int, word: str) -> None:
        """Adds the value of a row."""
        if isinstance(self._values, list):
            self._values.append(word)
            return
        number = math.nan
        if word not in MISSING:
            try:
                number = float(word)
                self._balance += 1
            except ValueError:
                self._balance -= 1
                if len(self._wrong) <= _MOST_WRONG:
                    self._wrong.append((row, word))
        self._values.append(number)

    @property
    def values(self) -> Sequence[Any]:
        """The values; of a column of words that is not used as such, the first word alone."""
        if not self._words and self._balance <= 0:
            return [word for _, word in self._wrong[:1]]
        return self._values

    def faults(self, *, decimal_comma: bool) -> list[str]:
        """Finds words among numbers.

        Args:
            decimal_comma: Whether a number with a comma is meant as one.
        """
        if decimal_comma and self._wrong and _DECIMAL_COMMA.fullmatch(self._wrong[0][1]):
            row, word = self._wrong[0]
            return [f"row {row} has {word!r:.60} in {self._name!r}: write numbers with a point"]
        if self._balance <= 0:
            return []
        return [
            f"row {row} must have a number in {self._name!r}, has {word!r:.60}"
            for row, word in self._wrong
        ]
