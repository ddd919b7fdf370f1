from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from benchmarks import tables


def test_markdown_table_has_a_rule_below_its_header():
    table = tables.markdown_table(("a", "b"), [("1", "2")])
    assert table == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_with_tables_replaces_a_block_and_nothing_else():
    page = "before\n<!-- table: kills -->\nold\n<!-- end -->\nafter\n"
    expected = f"before\n<!-- table: kills -->\n{tables.kills()}<!-- end -->\nafter\n"
    assert tables.with_tables(page) == expected
    assert tables.with_tables(expected) == expected


def test_with_tables_refuses_an_unknown_name():
    with pytest.raises(KeyError):
        tables.with_tables("<!-- table: no such -->\n<!-- end -->\n")


@pytest.mark.parametrize("name", tables.PLOTS)
def test_plot_is_svg_within_its_view(name):
    root = ET.fromstring(tables.PLOTS[name]())  # noqa: S314 - our own
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    dots = [each.attrib for each in root.iter("{http://www.w3.org/2000/svg}circle")]
    assert all(0 < float(dot["cx"]) < width and 0 < float(dot["cy"]) < height for dot in dots)
    result = tables.read_result(name.removeprefix("results-").removesuffix(".svg"))
    rows = result if isinstance(result, list) else result.get("rows", [])
    assert len(dots) == len(rows)
