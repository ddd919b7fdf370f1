from __future__ import annotations

import json
import math
import os
import signal

import pytest

from smash.errors import RunStateError
from smash.io.measurements import Ledger, kind_of

PAIRS = [(f"id{number}", number) for number in range(25)]


def squares(calls: list[int]):
    def square(number: int) -> dict[str, float]:
        calls.append(number)
        return {"square": number**2}

    return square


def test_nothing_is_measured_twice(tmp_path):
    path, calls = tmp_path / "trust.jsonl", []
    first = Ledger(path).measure("square", PAIRS[:12], squares(calls))
    again = Ledger(path).measure("square", PAIRS, squares(calls))
    assert [each["square"] for each in again] == [number**2 for number in range(25)]
    assert again[:12] == first
    assert calls == list(range(25))
    written = path.read_bytes()
    Ledger(path).measure("square", PAIRS[::-1], squares(calls))
    assert calls == list(range(25))
    assert path.read_bytes() == written


def test_one_that_is_asked_for_twice_is_measured_once(tmp_path):
    calls: list[int] = []
    found = Ledger(tmp_path / "x").measure("square", [*PAIRS[:2], *PAIRS[:2]], squares(calls))
    assert [each["square"] for each in found] == [0, 1, 0, 1]
    assert calls == [0, 1]


def test_other_settings_are_other_numbers(tmp_path):
    ledger, calls = Ledger(tmp_path / "trust.jsonl"), []
    assert kind_of("score", seed=0, examples=5) == "score examples=5 seed=0"
    for examples in (5, 6):
        ledger.measure(kind_of("score", examples=examples), PAIRS[:3], squares(calls))
    assert len(calls) == 6


def test_what_is_not_finite_is_kept_as_plain_json(tmp_path):
    path = tmp_path / "trust.jsonl"
    ledger = Ledger(path)
    ledger.add("k", "a", {"x": math.inf, "y": 1.5})
    ledger.flush()
    assert json.loads(path.read_text())["values"] == {"x": None, "y": 1.5}
    for each in (ledger, Ledger(path)):
        found = each.get("k", "a")
        assert found is not None
        assert math.isnan(found["x"])
        assert found["y"] == 1.5


def test_few_lines_are_written_at_a_time(tmp_path):
    path = tmp_path / "trust.jsonl"
    ledger = Ledger(path)
    for number in range(25):
        ledger.add("k", str(number), {"x": 0})
    assert len(path.read_text().splitlines()) == 20


def test_an_interruption_keeps_what_was_measured(tmp_path):
    path, calls = tmp_path / "trust.jsonl", []

    def interrupted(number: int) -> dict[str, float]:
        if number == 3:
            os.kill(os.getpid(), signal.SIGINT)
        calls.append(number)
        return {"square": number**2}

    with pytest.raises(KeyboardInterrupt):
        Ledger(path).measure("square", PAIRS, interrupted)
    assert len(path.read_text().splitlines()) == 3  # all that was measured to its end
    Ledger(path).measure("square", PAIRS, squares(calls))
    assert calls == list(range(25))


def test_an_error_keeps_what_was_measured(tmp_path):
    path = tmp_path / "trust.jsonl"

    def failing(number: int) -> dict[str, float]:
        return {"x": 1 / (2 - number)}

    with pytest.raises(ZeroDivisionError):
        Ledger(path).measure("x", PAIRS, failing)
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_a_line_that_a_kill_cut_off_is_measured_again(tmp_path, cut):
    path, calls = tmp_path / "trust.jsonl", []
    Ledger(path).measure("square", PAIRS, squares(calls))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    Ledger(path).measure("square", PAIRS, squares(calls))
    assert calls[25:] == [24]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("line", ["{", "[]", '{"kind": "k"}', '{"kind":"k","id":"a","values":[1]}'])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "trust.jsonl"
    path.write_text('{"kind": "k", "id": "a", "values": {"x": 1}}\n' + line + "\n")
    with pytest.raises(RunStateError, match=r"trust\.jsonl is damaged in line 2"):
        Ledger(path)


def test_a_number_that_is_asked_for_and_not_there_is_a_fault_of_the_file(tmp_path):
    path = tmp_path / "trust.jsonl"
    path.write_text('{"kind": "k", "id": "a", "values": {"x": 1}}\n')
    found = Ledger(path).get("k", "a")
    assert found is not None
    assert found["x"] == 1
    with pytest.raises(RunStateError, match=r"trust\.jsonl is damaged: 'y' is missing: delete"):
        found["y"]
