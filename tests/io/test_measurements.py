from __future__ import annotations

import json
import math
import os
import signal

import pytest

from smash.errors import RunStateError
from smash.io.measurements import MeasurementLog, measurement_kind

PAIRS = [(f"id{number}", number) for number in range(25)]


def squares(calls: list[int]):
    def square(number: int) -> dict[str, float]:
        calls.append(number)
        return {"square": number**2}

    return square


def test_measure_twice_measures_each_architecture_once(tmp_path):
    path, calls = tmp_path / "trust.jsonl", []
    first = MeasurementLog(path).measure("square", PAIRS[:12], squares(calls))
    again = MeasurementLog(path).measure("square", PAIRS, squares(calls))
    assert [each["square"] for each in again] == [number**2 for number in range(25)]
    assert again[:12] == first
    assert calls == list(range(25))
    written = path.read_bytes()
    MeasurementLog(path).measure("square", PAIRS[::-1], squares(calls))
    assert calls == list(range(25))
    assert path.read_bytes() == written


def test_measure_with_an_id_listed_twice_measures_it_once(tmp_path):
    calls: list[int] = []
    found = MeasurementLog(tmp_path / "x").measure(
        "square", [*PAIRS[:2], *PAIRS[:2]], squares(calls)
    )
    assert [each["square"] for each in found] == [0, 1, 0, 1]
    assert calls == [0, 1]


def test_measure_with_other_settings_measures_again(tmp_path):
    measurements, calls = MeasurementLog(tmp_path / "trust.jsonl"), []
    assert measurement_kind("score", seed=0, examples=5) == "score examples=5 seed=0"
    for examples in (5, 6):
        measurements.measure(
            measurement_kind("score", examples=examples), PAIRS[:3], squares(calls)
        )
    assert len(calls) == 6


def test_add_of_numbers_that_are_not_finite_writes_null(tmp_path):
    path = tmp_path / "trust.jsonl"
    measurements = MeasurementLog(path)
    measurements.add("k", "a", {"x": math.inf, "y": 1.5})
    measurements.flush()
    assert json.loads(path.read_text())["values"] == {"x": None, "y": 1.5}
    for each in (measurements, MeasurementLog(path)):
        found = each.get("k", "a")
        assert found is not None
        assert math.isnan(found["x"])
        assert found["y"] == 1.5


def test_add_writes_ten_lines_at_a_time(tmp_path):
    path = tmp_path / "trust.jsonl"
    measurements = MeasurementLog(path)
    for number in range(25):
        measurements.add("k", str(number), {"x": 0})
    assert len(path.read_text().splitlines()) == 20


def test_measure_after_an_interruption_keeps_finished_numbers(tmp_path):
    path, calls = tmp_path / "trust.jsonl", []

    def interrupted(number: int) -> dict[str, float]:
        if number == 3:
            os.kill(os.getpid(), signal.SIGINT)
        calls.append(number)
        return {"square": number**2}

    with pytest.raises(KeyboardInterrupt):
        MeasurementLog(path).measure("square", PAIRS, interrupted)
    assert len(path.read_text().splitlines()) == 3
    MeasurementLog(path).measure("square", PAIRS, squares(calls))
    assert calls == list(range(25))


def test_measure_after_an_error_keeps_finished_numbers(tmp_path):
    path = tmp_path / "trust.jsonl"

    def failing(number: int) -> dict[str, float]:
        return {"x": 1 / (2 - number)}

    with pytest.raises(ZeroDivisionError):
        MeasurementLog(path).measure("x", PAIRS, failing)
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_measure_after_a_line_was_cut_off_measures_it_again(tmp_path, cut):
    path, calls = tmp_path / "trust.jsonl", []
    MeasurementLog(path).measure("square", PAIRS, squares(calls))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    MeasurementLog(path).measure("square", PAIRS, squares(calls))
    assert calls[25:] == [24]
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"kind": "k"}',
        '{"kind":"k","id":"a","values":{"x":"1e"}}',
        '{"kind":"k","id":"a","values":[1]}',
    ],
)
def test_log_with_a_damaged_line_names_it(tmp_path, line):
    path = tmp_path / "trust.jsonl"
    path.write_text('{"kind": "k", "id": "a", "values": {"x": 1}}\n' + line + "\n")
    with pytest.raises(RunStateError, match=r"trust\.jsonl is damaged in line 2"):
        MeasurementLog(path)


def test_log_without_a_needed_number_is_damaged(tmp_path):
    path = tmp_path / "trust.jsonl"
    path.write_text('{"kind": "k", "id": "a", "values": {"x": 1}}\n')
    found = MeasurementLog(path).get("k", "a")
    assert found is not None
    assert found["x"] == 1
    with pytest.raises(RunStateError, match=r"trust\.jsonl is damaged: 'y' is missing: delete"):
        found["y"]
