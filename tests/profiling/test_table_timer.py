"""Latencies from tables of operators, compared with sums by hand."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

import smash
from smash import Task
from smash.errors import InvalidValueError
from smash.profiling.operator_table import Operator, format_table, read_table
from smash.profiling.stored_times import CHILD, read_latencies
from smash.profiling.table_timer import TableTimer, list_operators, sample_operators
from smash.searching.settings import SearchSettings
from smash.spaces.choices import FunctionSpace
from smash.spaces.mobile import MOBILE_PRESETS, MobileSpace
from tests.profiling.conftest import HEADER
from tests.profiling.test_footprint import Chain

TASK = Task(channels=3, size=(8, 8), classes=2)
CHAIN = """\
convolution,1x3x8x8,1x8x8x8,3x3,1x1,1x1,1,0.003
relu,1x8x8x8,1x8x8x8,,,,,0.0005
convolution,1x8x8x8,1x4x8x8,3x3,1x1,1x1,1,0.002
mean,1x4x8x8,1x4,,,,,0.00025
addmm,1x4,1x2,,,,,0
"""


def chain_or_pool(choose, task):
    """A chain, or a network of one pooling and one transposed convolution."""
    if choose("pool", (False, True)):
        return torch.nn.Sequential(
            torch.nn.MaxPool2d(2),
            torch.nn.ConvTranspose2d(3, 6, 2, stride=2, groups=3),
            torch.nn.Flatten(),
            torch.nn.Linear(6 * 8 * 8, task.classes),
        )
    return Chain()


def test_latency_of_a_function_child_is_the_sum_of_its_operators(table):
    space = FunctionSpace(chain_or_pool, "chain-or-pool", TASK)
    timer = TableTimer(space, TASK, table(CHAIN))
    (chain,) = [each for each in (space.smallest(), space.largest()) if not each["pool"]]
    assert timer(chain) == {"seconds": pytest.approx(0.00575), "spread": 0.0}


def test_operators_of_pooling_and_transposed_convolution_have_their_extents():
    (pool, transposed, linear) = list_operators(
        chain_or_pool(lambda *_: True, TASK).to("meta"), TASK
    )
    name = "max_pool2d_with_indices"
    assert pool == Operator(name, "1x3x8x8", "1x3x4x4", "2x2", "2x2")
    assert transposed == Operator(
        "transposed_convolution", "1x3x4x4", "1x6x8x8", "2x2", "2x2", "1x1", "3"
    )
    assert linear == Operator("addmm", "1x384", "1x2")


def test_latency_of_a_mobile_child_adds_operators_that_occur_twice(table):
    """A residual block of kept shape: its two convolutions share a row, as its activations do."""
    options = replace(
        MOBILE_PRESETS["tiny"], stem=(4,), widths=((4,),), strides=(1,), depths=(1,),
        kinds=("residual",), kernels=(3, 5),
    )  # fmt: skip
    space = MobileSpace(options, TASK)
    rows = """\
convolution,1x3x8x8,1x4x8x8,3x3,1x1,1x1,1,1
convolution,1x4x8x8,1x4x8x8,3x3,1x1,1x1,1,10
relu,1x4x8x8,1x4x8x8,,,,,100
add,1x4x8x8 1x4x8x8,1x4x8x8,,,,,1000
mean,1x4x8x8,1x4,,,,,10000
addmm,1x4,1x2,,,,,100000
"""
    # Stem and its activation; two convolutions with an activation between; sum and activation.
    seconds = (1 + 100) + (10 + 100 + 10) + (1000 + 100) + 10_000 + 100_000
    assert TableTimer(space, TASK, table(rows))(space.smallest())["seconds"] == seconds


def test_sample_operators_lists_what_a_table_needs(table):
    space = MobileSpace(MOBILE_PRESETS["tiny"], TASK)
    operators = sample_operators(space, TASK, 3)
    text = format_table(operators)
    assert text.startswith(HEADER)
    assert len(text.splitlines()) == 1 + len(operators) == 1 + len(set(operators))
    filled = table("".join(f"{line}0.5\n" for line in text.splitlines()[1:]))
    assert set(read_table(filled)) == set(operators)
    for architecture in (space.smallest(), space.largest()):
        count = len(list_operators(space.build(architecture, TASK), TASK))
        assert TableTimer(space, TASK, filled)(architecture)["seconds"] == count / 2


def test_each_operator_that_the_table_lacks_is_named_in_one_line(table):
    space = FunctionSpace(chain_or_pool, "chain-or-pool", TASK)
    rows = "".join(line + "\n" for line in CHAIN.splitlines() if "relu" not in line)
    timer = TableTimer(space, TASK, table(rows))
    (chain,) = [each for each in (space.smallest(), space.largest()) if not each["pool"]]
    with pytest.raises(InvalidValueError, match=r"lacks relu,1x8x8x8,1x8x8x8,,,,: add") as error:
        timer(chain)
    assert len(error.value.faults) == 1
    assert "smash show RUN --operators" in str(error.value)
    with pytest.raises(InvalidValueError, match="lacks convolution,") as error:
        TableTimer(space, TASK, table(""))(chain)
    assert len(error.value.faults) == 5


def test_search_by_latency_table_continues_once_rows_that_it_lacked_are_added(run, table, command):
    listed = command("show", str(run.path), "--operators", "20")
    assert listed.code == 0
    assert command("show", str(run.path), "--operators", "20", "--json").code == 2
    assert command("show", str(run.path), "--operators", "0").code == 2
    rows = listed.out.splitlines()[1:]
    counts = {"random": 3, "perturb": 0, "markov": 0, "device": "cpu", "max_latency": "100s"}

    def search(rows):
        path = table("".join(f"{row}0.25\n" for row in rows))
        return smash.search(run, **counts, latency_table=str(path))

    removed = rows.pop(next(n for n, row in enumerate(rows) if row.startswith("addmm")))
    while True:
        try:
            study = search(rows)
            break
        except InvalidValueError as error:
            lacking = re.findall(r"lacks (\S.*?): add the line", str(error))
            assert lacking
            rows += [f"{row}," for row in lacking]
    assert removed in rows
    task = run.data.task
    times = {
        each.id: len(list_operators(run.space.build(each.architecture, task), task)) / 4
        for each in study.candidates()
    }
    assert {each.id: each.latency for each in study.candidates()} == times
    stored = read_latencies(run.path, CHILD)
    assert {(stored[name].seconds, stored[name].device) for name in times} == {
        (seconds, "table") for seconds in times.values()
    }


def test_search_command_refuses_a_table_that_was_not_filled_in(run, table, command):
    path = table("addmm,1x64,1x10,,,,,\n")
    found = command("search", str(run.path), "--max-latency", "1s", "--latency-table", str(path))
    assert found.code == 2
    assert found.err.endswith(
        "line 2: seconds must be a number from 0, got '': mend or remove the line\n"
    )
    assert not run.study_path.exists()


def test_latency_table_without_limit_or_beside_a_command_is_refused():
    with pytest.raises(InvalidValueError, match="latency_table needs max_latency or the objective"):
        SearchSettings(latency_table="table.csv")
    with pytest.raises(InvalidValueError, match="latency_command and latency_table exclude each"):
        SearchSettings(latency_table="table.csv", latency_command="time {model}", max_latency="1s")
    assert SearchSettings(latency_table="table.csv", objectives=("error", "latency")).times_children
