from __future__ import annotations

import json

import pytest
import torch
from benchmarks.speed import MEASUREMENTS, QUICK, measure, ratio_of, take_turns
from benchmarks.speed.__main__ import main
from benchmarks.speed.launches import OperationCounter, count


def test_take_turns_reverses_the_order_and_drops_the_warm_up():
    calls = []
    sides = [lambda number: calls.append(("a", number)), lambda number: calls.append(("b", number))]
    seconds = take_turns(sides, 3, warm_up=1)
    assert calls == [
        (name, number) for number, names in enumerate(("ab", "ba", "ab", "ba")) for name in names
    ]
    assert [len(each) for each in seconds] == [3, 3]


def test_ratio_of_does_not_depend_on_how_often_each_side_begins():
    assert ratio_of([2, 16, 4], [1, 2, 2]) == pytest.approx(4)  # medians 2 and 8
    assert ratio_of([6], [2]) == pytest.approx(3)


def test_measure_at_the_size_of_the_digits_gives_a_row_for_each_measurement():
    rows = measure(sizes=["mobile-digits"], effort=QUICK)
    of_size = [name for name in MEASUREMENTS if name not in ("study", "start")]
    assert [row.name for row in rows] == [
        *of_size, "study add", "study add", "study read", "study read", "start"
    ]  # fmt: skip
    assert all(row.ratio > 0 and row.median > 0 for row in rows)
    assert [row.size for row in rows if row.name == "study add"] == ["10", "40"]


def test_main_with_json_prints_one_document(monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv", ["speed", "sample", "--size", "mobile-digits", "--quick", "--json"]
    )
    main()
    (row,) = json.loads(capsys.readouterr().out)
    assert set(row) == {"name", "size", "device", "ratio", "median", "unit"}
    assert (row["name"], row["size"], row["device"]) == ("sample", "mobile-digits", "cpu")


def test_main_with_an_unknown_name_exits_with_code_2(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["speed", "steps"])
    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == 2
    assert "no such measurement: steps" in capsys.readouterr().err


def test_operation_counter_gives_operations_to_the_part_that_made_their_node():
    weight, images = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3)
    counter = OperationCounter()
    with counter:
        with counter.part("product"):
            product = images @ weight.t()  # a view, and one operation
        with counter.part("sum"):
            product.exp().sum().backward()  # and the ones that the backward pass begins with
    assert counter.counts == {"product": 1, "sum": 3, "sum backward": 1, "product backward": 1}


def test_count_of_a_step_is_repeatable_and_near_the_child_with_plain_sharing():
    first, second = (count("mobile", "none", "digits", architectures=1) for _ in range(2))
    assert first == second
    assert first.ratio == sum(first.parts.values()) / first.child
    assert (
        first.ratio < 1.1
    )  # the child counts batches in each of its BatchNorms, the step does not
    assert first.graph_ratio is None
