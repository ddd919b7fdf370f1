from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from smash.benching import FIGURES, QUICK, SIZES, bench, in_turn, ratio_of
from smash.cli.main import app
from smash.errors import InvalidValueError


def test_sides_take_turns_and_warm_up_does_not_count():
    calls = []
    sides = [lambda number: calls.append(("a", number)), lambda number: calls.append(("b", number))]
    found = in_turn(sides, 3, warm_up=1)
    assert calls == [
        (name, number) for number, names in enumerate(("ab", "ba", "ab", "ba")) for name in names
    ]
    assert [len(seconds) for seconds in found] == [3, 3]


def test_a_ratio_does_not_depend_on_how_often_each_side_begins():
    assert ratio_of([2, 16, 4], [1, 2, 2]) == pytest.approx(4)  # 2 and 2 of one, 8 of the other
    assert ratio_of([6], [2]) == pytest.approx(3)


def test_measures_each_figure_at_the_size_of_the_demo():
    rows = bench(sizes=["demo"], effort=QUICK)
    of_size = [name for name in FIGURES if name not in ("study", "start")]
    assert [row.name for row in rows] == [
        *of_size, "study add", "study add", "study read", "study read", "start"
    ]  # fmt: skip
    assert all(row.ratio > 0 and row.median > 0 for row in rows)
    assert [row.size for row in rows if row.name == "study add"] == ["10", "40"]


def test_the_command_prints_json():
    command = ["bench", "sample", "--size", "demo", "--quick", "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert set(row) == {"name", "size", "device", "ratio", "median", "unit"}
    assert (row["name"], row["size"], row["device"]) == ("sample", "demo", "cpu")


def test_names_that_are_not_known_are_told_at_once():
    with pytest.raises(InvalidValueError) as error:
        bench(["steps"], ["demon"])
    assert "'step'" in str(error.value)
    assert "'demo'" in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InvalidValueError, match="is not there"):
        bench(["step"], list(SIZES), "cuda")
