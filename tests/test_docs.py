"""What the documents show is run."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import smash

ROOT = Path(__file__).parents[1]


def blocks(page: str) -> list[str]:
    """The pieces of Python of a page."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_the_tutorial_on_spaces_runs(tmp_path, monkeypatch):
    space, *rest = blocks("own-space.md")
    (tmp_path / "tutorial.py").write_text(space)  # another process is to find its classes
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    import tutorial  # type: ignore[import-not-found]

    try:
        for block in rest:
            exec(compile(block, "own-space.md", "exec"), vars(tutorial))  # noqa: S102
    finally:
        smash.SPACES.pop("chain", None)
        sys.modules.pop("tutorial")
    run = smash.Run.open("runs/chain")
    assert run.trained
    with pytest.raises(smash.SmashError, match=r"added to smash\.SPACES"):
        _ = run.space


def test_the_tutorial_shows_the_space_that_the_tests_use():
    used = (ROOT / "tests" / "spaces" / "chain.py").read_text()
    assert blocks("own-space.md")[0].strip() == used[used.index("from __future__") :].strip()


def test_the_page_on_deploying_runs(exported, tmp_path, monkeypatch, capsys):
    """With the digits in place of photographs."""
    shutil.copy(exported / "m.onnx", tmp_path / "model.onnx")
    shutil.copy(exported / "m.py", tmp_path / "model.py")
    shutil.copy(exported / "m.safetensors", tmp_path)
    Image.fromarray(np.full((8, 8), 128, np.uint8)).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        for block in blocks("deploy.md"):
            exec(compile(block, "deploy.md", "exec"), {"__name__": "page"})  # noqa: S102
    finally:
        sys.modules.pop("model", None)
    by_smash, by_onnx, by_torch = capsys.readouterr().out.splitlines()
    assert by_smash.startswith(f"photo.png (('{by_onnx}', ")
    assert by_torch in map(str, range(10))
