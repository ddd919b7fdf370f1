"""Tables of the user in CSV, whose columns have names."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from smash.errors import DataError, NotFoundError, shortened, unknown

_DELIMITERS = ",;\t"


def delimiter_of(names: str) -> str:
    """Finds what separates the columns of a table, given the line of their names.

    Example:
        >>> delimiter_of("time;x;y")
        ';'
    """
    return max(_DELIMITERS, key=names.count)


def read_csv(
    path: str | Path, columns: Sequence[str], *, name: str, remedy: str = ""
) -> list[tuple[int, dict[str, str]]]:
    r"""Reads the rows of a table as text, with the numbers of their lines.

    Args:
        path: The file; its first line names the columns, which may be more than are needed.
        columns: Names of the columns that are needed.
        name: Name of the setting that holds the path, for the message.
        remedy: Where such a table comes from, for the message.

    Raises:
        NotFoundError: The file does not exist.
        DataError: It is not CSV in UTF-8, a column is missing, or a row has more or fewer cells.

    Example:
        >>> written = Path("table.csv").write_text("architecture,accuracy\n7/3,91.2\n")
        >>> read_csv("table.csv", ["accuracy"], name="table")
        [(2, {'architecture': '7/3', 'accuracy': '91.2'})]
    """
    path, advice = Path(path), f"; {remedy}" * bool(remedy)
    if not path.is_file():
        raise NotFoundError(f"{name} {str(path)!r} is not a file: name a CSV file{advice}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = delimiter_of(file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            known = next(reader, [])
            rows = [(reader.line_num, cells) for cells in reader if cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} must be CSV in UTF-8 ({error}): save it again") from None
    faults = [
        f"{path}: {unknown('column', each, known or ['none'])}{advice}"
        for each in columns
        if each not in known
    ]
    faults += [
        f"{path}: column {each!r} is named twice: rename one"
        for each in columns
        if known.count(each) > 1
    ]
    faults = faults or [
        f"{path}, line {line}: the number of cells must be {len(known)}, as of columns, got "
        f"{len(cells)}: mend or remove it"
        for line, cells in rows
        if len(cells) != len(known)
    ]
    if faults:
        raise DataError(*shortened(faults))
    return [(line, dict(zip(known, cells, strict=True))) for line, cells in rows]
