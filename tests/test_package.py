"""The package as a whole: its public names, and what importing it costs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import smash

CODE = """
import json, sys
from smash.cli.main import main

for line in json.loads(sys.argv[1]):
    sys.argv = ['smash', *line.split()]
    try:
        main()
    except SystemExit as end:
        slow = {'torch', 'optuna', 'scipy', 'sklearn', 'torchvision', 'pandas'} & {*sys.modules}
        print('after', line, 'code', end.code, *sorted(slow), file=sys.stderr)
"""


def _run(lines: list[str], folder: Path) -> list[str]:
    """Runs commands in one new process; tells after each its code and what slow is loaded."""
    found = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(lines)], capture_output=True, text=True, cwd=folder
    )
    return [line for line in found.stderr.splitlines() if line.startswith("after ")]


def test_import_loads_neither_torch_nor_numpy():
    code = "import sys, smash; print(*{'torch', 'optuna', 'numpy'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_commands_that_do_not_compute_load_nothing_slow(tmp_path):
    refused = [
        "show MISSING",
        "report MISSING",
        "data check digitz",
        "train MISSING_FOLDER --out OUT",
        "train digits --out OUT --preset smal -o depth=x --hypernet lowrank --device gpu --dims 9 "
        "--minutes soon",
        "train digits --out OUT --preset tiny -o depth=x",
        "train digits --out OUT --space memory-bnk",
        "train digits --out OUT --space mobile --preset huge",
        "train digits --out OUT --space mobile -o wdths=3",
        "train digits --out OUT --space nas-bench-201 -o celks=3",
        "search MISSING --strategy x --prior y --device gpu",
        "retrain MISSING --baseline resnat-18 --device gpu",
        "compare MISSING --families nosuch",
        "correlate MISSING --train 5 --proxy x",
        "predict MISSING a.png",
    ]
    found = _run(["--help", *refused], tmp_path)
    assert found == ["after --help code 0", *(f"after {line} code 2" for line in refused)]
    assert not list(tmp_path.iterdir())


def test_faults_of_a_finished_run_need_no_torch(finished, tmp_path):
    (child,) = (finished / "children").iterdir()
    lines = [
        f"retrain {finished} --rank 9999",
        f"retrain {finished} --ranks 0-99",
        f"compare {finished} --ranks 99",
        f"predict {child} missing.png",
        f"predict {finished}/config.toml missing.png",
        f"evaluate {child}-x",
        f"evaluate {child} --model missing.onnx",
        f"export {child}-x",
        f"export {child} --to model.tflite",
        f"show {child}",
    ]
    found = _run(lines, tmp_path)
    assert len(found) == len(lines), found
    for line, said in zip(lines, found, strict=True):
        code, *slow = said.removeprefix(f"after {line} code ").split()
        assert code == "2"
        assert "torch" not in slow, line


def test_show_of_a_run_without_children_needs_no_torch(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("children"))
    (said,) = _run([f"show {run}"], tmp_path)
    assert said.startswith(f"after show {run} code 0")
    assert "torch" not in said.split()


def test_public_names_are_importable():
    missing = [name for name in smash.__all__ if not hasattr(smash, name)]
    assert missing == []
    assert set(smash.__all__) <= set(dir(smash))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'smash' has no attribute 'searching_'"):
        _ = smash.searching_
