from __future__ import annotations

import pytest

HEADER = "operator,input,output,kernel,stride,dilation,groups,seconds\n"


@pytest.fixture
def table(tmp_path):
    """Writes a table."""

    def write(rows: str, header: str = HEADER):
        path = tmp_path / "table.csv"
        path.write_text(header + rows)
        return path

    return write
