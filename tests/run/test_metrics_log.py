from __future__ import annotations

import json
import sys

import pytest

import smash
from smash.errors import MissingExtraError, RunStateError
from smash.run.layout import TENSORBOARD
from smash.run.metrics_log import Curves, MetricsLog, check_tensorboard
from tests.conftest import TINY


def test_metrics_log_ignores_a_truncated_line_and_drops_later_steps(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.rows() == []
    rows = [{"step": step, "epoch": step // 10, "train_loss": 1.5} for step in (10, 20, 30)]
    for row in rows:
        log.append(row)
    with log.path.open("a") as file:
        file.write('{"step": 4')
    assert log.rows() == rows
    log.truncate(20)
    assert [json.loads(line) for line in log.path.read_text().splitlines()] == rows[:2]


@pytest.mark.parametrize(
    "altered",
    [{"step": 10**400}, {"epoch": "1"}, {"train_loss": None}, {"val_error": [0.5]}, {"split": 3}],
)
def test_metrics_log_with_an_altered_value_names_its_field(tmp_path, altered):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"step": 10, "epoch": 1, "train_loss": 1.5, **altered})
    (field,) = altered
    with pytest.raises(RunStateError, match=rf"metrics.jsonl is damaged in line 1 \({field}\)"):
        log.rows()


NAMES = {
    "train_loss": "loss/train",
    "val_loss": "loss/val",
    "val_error": "error/val",
    "val_top5_error": "top-5 error/val",
}


def read(folder):
    """Steps and values by name, as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def expected(rows):
    return {
        name: [(row["step"], pytest.approx(row[key], rel=1e-6)) for row in rows if key in row]
        for key, name in NAMES.items()
    }


def test_curves_of_a_run_and_its_children_are_in_tensorboard(few_digits, tmp_path):
    run = smash.train(few_digits, tmp_path / "run", epochs=2, tensorboard=True, **TINY)
    assert read(run.path / TENSORBOARD / "network") == expected(run.metrics.rows())
    smash.search(run, random=2, perturb=0, markov=0, examples=20)
    child = smash.retrain(run, rank=0, epochs=2, test=False)
    rows = MetricsLog(child.path / "metrics.jsonl").rows()
    assert len(rows) == 2
    assert read(run.path / TENSORBOARD / child.path.name) == expected(rows)


def test_train_without_tensorboard_writes_no_curves(run):
    assert not (run.path / TENSORBOARD).exists()


def test_curves_written_again_replace_later_steps(tmp_path):
    first = Curves(tmp_path)
    for step in (1, 2, 3):
        first.write({"step": step, "train_loss": float(step)})
    Curves(tmp_path).write({"step": 2, "train_loss": 20.0})
    assert read(tmp_path) == {"loss/train": [(1, 1.0), (2, 20.0)]}


def test_curves_of_the_test_split_are_named_after_it(tmp_path):
    Curves(tmp_path).write({"step": 1, "val_error": 0.5, "split": "test"})
    assert read(tmp_path) == {"error/test": [(1, 0.5)]}


def test_train_without_the_extra_is_refused_before_any_work(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as Python has what is not installed
    with pytest.raises(MissingExtraError, match=r"pip install 'smash-nas\[dashboard\]'"):
        check_tensorboard()
    with pytest.raises(MissingExtraError):
        smash.train(digits, tmp_path / "run", epochs=1, tensorboard=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "argv",
    [("train", "digits", "--out", "new", "--tensorboard"), ("retrain", ".", "--tensorboard")],
)
def test_commands_without_the_extra_name_it(argv, finished, monkeypatch, command):
    monkeypatch.chdir(finished)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    answer = command(*argv)
    assert answer.code == 2
    assert "pip install 'smash-nas[dashboard]'" in answer.err
    assert not (finished / "new").exists()
