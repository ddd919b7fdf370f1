"""Readers are fed damaged files: each is read, or refused in words.

The long form is ``python benchmarks/fuzzing.py``: 100,000 inputs a reader.
"""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest

pytest.importorskip("datasets")
pytest.importorskip("onnxruntime")
pytest.importorskip("trimesh")

READERS = [
    *("json", "result", "toml", "journal", "metrics", "ledger", "safetensors", "ensemble"),
    *("storage", "storage URL", "trust", "environment", "child of a report"),
    *("csv", "cell", "npz", "ModelNet", "class names", "mesh", "images"),
    *("parquet", "arrow", "state of a table", "features of a table"),
    *("shipped", "onnx", "npy"),
]
INPUTS = 30


@pytest.fixture(scope="module")
def fuzzing():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        yield importlib.import_module("fuzzing")


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzing")
    shutil.copytree(finished, folder / "run")
    return folder


@pytest.fixture(scope="module")
def readers(fuzzing, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMASH_CACHE", str(folder / "cache"))
        yield fuzzing.readers(folder)


def test_all_readers_are_fed(readers):
    assert sorted(readers) == sorted(READERS)


@pytest.mark.parametrize("name", READERS)
def test_what_is_damaged_is_read_or_refused(fuzzing, readers, folder, name):
    tally = fuzzing.fuzz(name, readers[name], folder, INPUTS, seed=1)
    assert tally.crashes == []
    assert tally.read + tally.refused == INPUTS
    assert readers[name].forgiving or tally.refused > INPUTS / 4


def test_the_same_number_is_the_same_input(fuzzing, readers, folder):
    seen = []
    reader = fuzzing.Reader(lambda path: seen.append(path.read_bytes()), readers["csv"].good)
    fuzzing.fuzz("csv", reader, folder, inputs=5)
    first = seen[1:]
    seen.clear()
    fuzzing.fuzz("csv", reader, folder, inputs=3, first=2)
    assert seen[1:] == first[2:]
    assert len(set(first)) == 5
