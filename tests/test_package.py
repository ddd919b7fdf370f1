"""The package as a whole: its public names, and what importing it costs."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import smash

CODE = """
import sys
from smash.cli.main import main
sys.argv[0] = 'smash'
try:
    main()
except SystemExit as end:
    slow = {'torch', 'optuna', 'scipy', 'sklearn', 'torchvision', 'pandas'} & {*sys.modules}
    print('code', end.code, *slow, file=sys.stderr)
"""


def test_import_loads_neither_torch_nor_numpy():
    code = "import sys, smash; print(*{'torch', 'optuna', 'numpy'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--help", 0),
        ("show MISSING", 2),
        ("report MISSING", 2),
        ("data check digitz", 2),
        ("train MISSING_FOLDER --out OUT", 2),
        (
            "train digits --out OUT --preset smal -o depth=x --hypernet lowrank --device gpu "
            "--dims 9 --minutes soon",
            2,
        ),
        ("train digits --out OUT --preset tiny -o depth=x", 2),
        ("train digits --out OUT --space memory-bnk", 2),
        ("train digits --out OUT --space mobile --preset huge", 2),
        ("train digits --out OUT --space mobile -o wdths=3", 2),
        ("train digits --out OUT --space nas-bench-201 -o celks=3", 2),
        ("search MISSING --strategy x --prior y --device gpu", 2),
        ("retrain MISSING --baseline resnat-18 --device gpu", 2),
        ("compare MISSING --families nosuch", 2),
        ("correlate MISSING --train 5 --proxy x", 2),
        ("predict MISSING a.png", 2),
    ],
)
def test_commands_that_do_not_compute_load_nothing_slow(words, code, tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", CODE, *words.split()], capture_output=True, text=True, cwd=tmp_path
    )
    assert found.stderr.splitlines()[-1] == f"code {code}", found.stderr


@pytest.mark.parametrize(
    "words",
    [
        "retrain {run} --rank 9999",
        "retrain {run} --ranks 0-99",
        "compare {run} --ranks 99",
        "predict {child} missing.png",
        "predict {run}/config.toml missing.png",
        "evaluate {child}-x",
        "evaluate {child} --model missing.onnx",
        "export {child}-x",
        "export {child} --to model.tflite",
        "show {child}",
    ],
)
def test_faults_of_a_finished_run_need_no_torch(finished, tmp_path, words):
    (child,) = (finished / "children").iterdir()
    found = subprocess.run(
        [sys.executable, "-c", CODE, *words.format(run=finished, child=child).split()],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    last = found.stderr.splitlines()[-1].split()
    assert last[:2] == ["code", "2"], found.stderr
    assert "torch" not in last


def test_show_of_a_run_without_children_needs_no_torch(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("children"))
    found = subprocess.run(
        [sys.executable, "-c", CODE, "show", str(run)], capture_output=True, text=True
    )
    assert "torch" not in found.stderr.splitlines()[-1].split()


def test_public_names_are_importable():
    missing = [name for name in smash.__all__ if not hasattr(smash, name)]
    assert missing == []
    assert set(smash.__all__) <= set(dir(smash))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'smash' has no attribute 'searching_'"):
        _ = smash.searching_
