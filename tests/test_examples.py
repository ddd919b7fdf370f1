"""The examples in docstrings give the results that they show."""

from __future__ import annotations

import doctest
import importlib
import inspect
import shutil
from pathlib import Path

import pytest

import smash
from smash.config import ChildSettings, LoadSettings, LoopSettings
from smash.scoring.proxies import Proxy
from smash.training.loop import Trainable, TrainingLoop

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


ROOT = Path(smash.__file__).parent
MODULES = [path for path in sorted(ROOT.rglob("*.py")) if ">>>" in path.read_text("utf-8")]
# The package's own example is the README's, which tests.test_docs runs.
NAMES = [
    ".".join(("smash", *path.relative_to(ROOT).with_suffix("").parts))
    for path in MODULES
    if path != ROOT / "__init__.py"
]


# Packages whose names are public, and bases of classes of one's own.
PACKAGES = (
    "smash",
    "smash.data",
    "smash.hypernet",
    "smash.searching.strategies",
    "smash.spaces",
    "smash.spaces.choices",
)
BASES = (ChildSettings, LoadSettings, LoopSettings, Proxy, Trainable, TrainingLoop)


VERBS = (
    *("train", "search", "retrain", "compare", "correlate", "export", "predict", "report"),
    *("load_data", "check_data", "space"),
)


@pytest.mark.parametrize("name", VERBS)
def test_public_function_has_an_example(name):
    assert ">>>" in (inspect.getdoc(getattr(smash, name)) or "").partition("Example:")[2]


def public_classes():
    modules = [importlib.import_module(name) for name in PACKAGES]
    public = [getattr(module, name) for module in modules for name in module.__all__]
    classes = {each for each in public if inspect.isclass(each)}
    return sorted({*classes, *BASES}, key=lambda each: each.__name__)


@pytest.mark.parametrize("public", public_classes(), ids=lambda each: each.__name__)
def test_public_class_has_an_example(public):
    assert "Example:" in inspect.getdoc(public)
    assert ">>>" in inspect.getdoc(public)


@pytest.mark.parametrize("name", NAMES)
def test_examples_of_module_run(name, request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    if "runs/digits" in inspect.getsource(module):
        shutil.copytree(request.getfixturevalue("finished"), tmp_path / "runs" / "digits")
    result = doctest.testmod(module, optionflags=FLAGS)
    assert result.attempted
    assert result.failed == 0


def test_no_example_is_left_out():
    sources = [path.read_text("utf-8") for path in ROOT.rglob("*.py")]
    assert not [source for source in sources if "doctest: +SKIP" in source]
    assert all(source.count("Example:\n") <= source.count(">>>") for source in sources)
