"""Runs are shown and faults are said at once, before torch is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from smash.errors import AlreadyExistsError, InvalidValueError, NotFoundError, RunStateError
from smash.run.layout import (
    check_child,
    check_free,
    check_searched,
    check_trained,
    child_path,
    find_run,
)

_CODE = """
import sys
from smash.cli import main as cli

for line in sys.argv[1:]:
    sys.argv = ["smash", *line.split()]
    try:
        cli.main()
    except SystemExit as left:
        print(left.code)
print(sorted({"torch", "scipy", "optuna", "numpy"} & set(sys.modules)))
"""


def test_commands_on_a_wrong_place_end_without_torch_and_optuna(tmp_path):
    lines = [
        f"show {tmp_path}/nowhere",
        f"search {tmp_path}",
        f"retrain {tmp_path}/nowhere",
        f"correlate {tmp_path}/nowhere --train 3",
        f"evaluate {tmp_path}",
        f"report {tmp_path}/nowhere",
        f"train --resume --out {tmp_path}/nowhere",
        f"train {tmp_path}/nowhere.npz --out {tmp_path}/out",
        f"train --out {tmp_path}/out",
        f"data check {tmp_path}/nowhere",
        "train --epochs 1.5",
        "serch",
    ]
    answer = subprocess.run(
        [sys.executable, "-c", _CODE, *lines], capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines() == ["2"] * len(lines) + ["[]"]
    assert len(answer.stderr.splitlines()) == len(lines)


def test_show_of_a_run_and_a_missing_table_need_no_torch(finished, tmp_path):
    """Nor SciPy: both take longer to import than what is printed takes."""
    lines = [
        f"show {finished}",
        f"show {finished} --json",
        f"show {finished} --front",
        f"search {finished} --max-latency 1s --latency-table {tmp_path}/nowhere.csv",
    ]
    answer = subprocess.run(
        [sys.executable, "-c", _CODE, *lines], capture_output=True, text=True, check=True
    )
    codes = [line for line in answer.stdout.splitlines() if line in {"0", "2"}]
    assert codes == ["0", "0", "0", "2"]
    assert "Trained children" in answer.stdout
    assert answer.stdout.endswith("['numpy', 'optuna']\n")
    assert "nowhere.csv' is not a file" in answer.stderr


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\\b", "a\0b", "a" * 201])
def test_child_path_of_an_unsafe_name_is_refused(tmp_path, name):
    with pytest.raises(InvalidValueError, match="leave out slashes"):
        child_path(tmp_path, name)


def test_child_path_of_a_name_is_a_folder_of_children(tmp_path):
    assert child_path(tmp_path, "my child-2.5") == tmp_path / "children" / "my child-2.5"


def test_check_free_accepts_only_remains_of_a_killed_start(tmp_path):
    check_free(tmp_path / "nowhere")
    check_free(tmp_path)
    for name in ("environment.json", "data.json", ".config.toml.ab.tmp", ".train.lock"):
        (tmp_path / name).touch()
    check_free(tmp_path)
    with pytest.raises(NotFoundError, match="was stopped before it began"):
        find_run(tmp_path)
    (tmp_path / ".train.lock").unlink()
    with pytest.raises(AlreadyExistsError, match="is kept"):  # they may be the user's
        check_free(tmp_path)
    (tmp_path / ".train.lock").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(AlreadyExistsError, match="is kept"):
        check_free(tmp_path)
    with pytest.raises(NotFoundError, match="is not a run"):
        find_run(tmp_path)
    with pytest.raises(AlreadyExistsError):
        check_free(tmp_path / "notes.txt")


def test_checks_of_a_missing_part_name_the_command_that_makes_it(tmp_path):
    with pytest.raises(NotFoundError, match="'smash train'"):
        find_run(tmp_path / "nowhere")
    with pytest.raises(RunStateError, match="smash train --resume"):
        check_trained(tmp_path)
    with pytest.raises(NotFoundError, match="smash search"):
        check_searched(tmp_path / "study.journal")
    with pytest.raises(NotFoundError, match="smash retrain"):
        check_child(tmp_path)
    (tmp_path / "architecture.json").touch()
    with pytest.raises(RunStateError, match="has not finished training"):
        check_child(tmp_path)
