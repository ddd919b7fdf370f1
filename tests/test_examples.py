"""The examples in docstrings give the results that they show."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import smash

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


ROOT = Path(smash.__file__).parent
MODULES = [path for path in sorted(ROOT.rglob("*.py")) if ">>>" in path.read_text("utf-8")]
# The package's own example is the README's, which tests.test_docs runs.
NAMES = [
    ".".join(("smash", *path.relative_to(ROOT).with_suffix("").parts))
    for path in MODULES
    if path != ROOT / "__init__.py"
]


@pytest.mark.parametrize("name", NAMES)
def test_examples_of_module_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert result.failed == 0
