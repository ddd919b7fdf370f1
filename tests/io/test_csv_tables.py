"""Tables in CSV: what is read, and what is refused."""

from __future__ import annotations

import pytest

from smash.errors import DataError, NotFoundError
from smash.io.csv_tables import read_csv


def test_read_csv_takes_a_byte_order_mark_quotes_and_empty_lines(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('\ufeffa,b\r\n1,"x, y"\r\n\r\n2,z\r\n', encoding="utf-8", newline="")
    assert read_csv(path, ["b"], name="table") == [
        (2, {"a": "1", "b": "x, y"}),
        (4, {"a": "2", "b": "z"}),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_read_csv_takes_what_spreadsheets_separate_columns_by(tmp_path, delimiter):
    path = tmp_path / "table.csv"
    path.write_text(f"a{delimiter}b\n1{delimiter}2\n")
    assert read_csv(path, ["b"], name="table") == [(2, {"a": "1", "b": "2"})]


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (
            b"a\n1,2\n3\n4,5,6\n",
            ["line 2: the number of cells must be 1, as of columns, got 2", "line 4: "],
        ),
        (b"a,b\n1\n", ["line 2: the number of cells must be 2, as of columns, got 1: mend"]),
        (b"aa\n", ["column 'a' is not known: did you mean 'aa'"]),
        (b"", ["column 'a' is not known"]),
        (b"\xff\xfe\x00", ["must be CSV in UTF-8"]),
        (b'a\n"1\n', ["must be CSV in UTF-8"]),
        (b"a,a\n1,2\n", ["column 'a' is named twice"]),
    ],
)
def test_read_csv_refuses_what_is_not_a_table_with_the_columns(tmp_path, content, faults):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_csv(path, ["a"], name="table")
    assert len(error.value.faults) == len(faults)
    for found, fault in zip(error.value.faults, faults, strict=True):
        assert fault in found
        assert str(path) in found


def test_read_csv_of_no_file_names_the_setting(tmp_path):
    with pytest.raises(NotFoundError, match=r"table '.*none.csv' is not a file: .*; export it"):
        read_csv(tmp_path / "none.csv", ["a"], name="table", remedy="export it")
