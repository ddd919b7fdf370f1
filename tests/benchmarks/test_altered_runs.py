"""The long form is ``python -m benchmarks.altered_runs``: 2,000 folders."""

from __future__ import annotations

import random
import shutil
import signal
import time

import pytest
from benchmarks.altered_runs import alter_run, judge, run_command, watch

from benchmarks import altered_runs


@pytest.fixture
def decoys(tmp_path):
    (tmp_path / "decoys" / "folder").mkdir(parents=True)
    (tmp_path / "decoys" / "file").write_text("kept")
    return tmp_path / "decoys"


def test_alter_run_with_the_same_seed_makes_the_same_folder(finished, decoys, tmp_path):
    changes = {}
    for number in range(30):
        for turn in range(2):
            run = shutil.copytree(finished, tmp_path / "runs" / "run")
            draw = random.Random(number)  # noqa: S311 # alterations, not secrets
            change = alter_run(run, decoys, draw)
            entries = {key: value for key, value in watch(run).items() if "/." not in key}
            assert changes.setdefault(number, (change, entries)) == (change, entries), turn
            shutil.rmtree(run)
    assert len({change for change, _ in changes.values()}) > 10
    assert (decoys / "file").read_text() == "kept"


def test_watch_of_a_changed_tree_tells_it(decoys):
    before = watch(decoys)
    (decoys / "file").write_text("Kept")
    (decoys / "folder" / "new").touch()
    after = watch(decoys)
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert changed == {str(decoys / "file"), str(decoys / "folder" / "new")}


@pytest.mark.parametrize(
    ("code", "by_itself", "output", "fault"),
    [
        (0, True, "ranked\n", None),
        (2, True, "smash: runs/x is damaged\n", None),
        (130, False, "smash: interrupted\n", None),
        (2, True, "", "exit code 2 without a message"),
        (130, True, "smash: interrupted\n", "exit code 130"),
        (1, True, "Traceback (most recent call last):\nKeyError: 1", "a traceback"),
        (0, True, "\x1b[31mred", "raw control characters"),
    ],
)
def test_judge_of_an_end_names_the_fault(code, by_itself, output, fault):
    found = judge(code, by_itself, output)
    assert found == fault if fault is None else found.startswith(fault)


def test_run_command_of_work_without_end_is_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(altered_runs, "_SECONDS", 0.1)

    def work():
        time.sleep(60)

    monkeypatch.setattr(altered_runs.cli, "main", work)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run_command(["show"], tmp_path / "log") == (0, False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "KeyboardInterrupt" in (tmp_path / "log").read_text()
