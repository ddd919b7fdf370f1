"""Tables of operators: what is read, and what is refused."""

from __future__ import annotations

import pytest

from smash.errors import DataError, NotFoundError
from smash.profiling.operator_table import Operator, read_table
from tests.documents import PAGES, blocks

ROW = "relu,1x8,1x8,,,,,"


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (f"{ROW}\n", r"line 2: seconds must be a number from 0, got ''"),
        (f"{ROW}-0.1\n", r"line 2: .* got '-0\.1'"),
        (f"{ROW}quick\n", r"got 'quick'"),
        (f"{ROW}nan\n", r"got 'nan'"),
        (f"{ROW}inf\n", r"got 'inf'"),
        ("relu\n", r"line 2: the number of cells must be 8, .* got 1: mend"),
        (f"{ROW}1\n\n{ROW}2\n", r"line 4: the operator has 2 seconds here and 1 above"),
        (f'{ROW}"1\n', r"must be CSV in UTF-8 \(.*\): save it again"),
        (f"{ROW}1,2\n", r"line 2: the number of cells must be 8, .* got 9: mend"),
    ],
)
def test_read_table_refuses_malformed_rows_in_one_line_each(table, rows, fault):
    with pytest.raises(DataError, match=fault) as error:
        read_table(table(rows))
    assert len(error.value.faults) == 1
    assert "\n" not in str(error.value)


def test_read_table_refuses_files_without_its_columns(table, tmp_path):
    with pytest.raises(DataError) as error:
        read_table(table("", "operator,input,output,stride,dilation,groups\n"))
    assert len(error.value.faults) == 2
    for name, fault in zip(("kernel", "seconds"), error.value.faults, strict=True):
        assert f"column {name!r} is not known" in fault
        assert fault.endswith("'smash show RUN --operators' lists those of the space")
    with pytest.raises(NotFoundError, match="is not a file: name a CSV"):
        read_table(tmp_path / "none.csv")


def test_read_table_takes_equal_rows_and_columns_in_any_order(table):
    found = read_table(table(
        "1, relu ,x,1x8,1x8,,,,\n0.0,tanh,x,1x8,1x8,,,,\n1.0,relu,y,1x8,1x8,,,,\n",
        "\ufeffseconds,operator,board,input,output,kernel,stride,dilation,groups\n",
    ))  # fmt: skip
    assert found == {Operator("relu", "1x8", "1x8"): 1.0, Operator("tanh", "1x8", "1x8"): 0.0}


def test_documented_table_is_read(table):
    (page,) = (each for each in PAGES if each.name == "search.md")
    (block,) = (each for each in blocks(page) if each.text.startswith("operator,"))
    assert list(read_table(table(block.text, "")).values()) == [0.0031, 0.00002]
