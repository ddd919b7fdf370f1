"""The long form is ``python -m benchmarks.fuzzing``: 100,000 inputs a reader."""

from __future__ import annotations

import shutil

import pytest

from benchmarks import fuzzing

READERS = [
    *("json", "result", "toml", "journal", "metrics", "measurements", "safetensors", "ensemble"),
    *("storage", "storage URL", "trust", "environment", "child of a report"),
    *("csv", "cell", "npz", "ModelNet", "class names", "mesh", "images"),
    *("parquet", "arrow", "state of a table", "features of a table"),
    *("shipped", "onnx", "npy"),
]
INPUTS = 30


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzing")
    shutil.copytree(finished, folder / "run")
    return folder


@pytest.fixture(scope="module")
def readers(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMASH_CACHE", str(folder / "cache"))
        yield fuzzing.readers(folder)


def test_readers_are_all_tested(readers):
    assert sorted(readers) == sorted(READERS)


@pytest.mark.parametrize("name", READERS)
def test_reader_of_damaged_input_reads_or_refuses_it(readers, folder, name):
    tally = fuzzing.fuzz(name, readers[name], folder, INPUTS, seed=1)
    assert tally.crashes == []
    assert tally.read + tally.refused == INPUTS
    assert readers[name].forgiving or tally.refused > INPUTS / 4


def test_fuzz_with_the_same_number_makes_the_same_input(readers, folder):
    seen = []
    reader = fuzzing.Reader(lambda path: seen.append(path.read_bytes()), readers["csv"].good)
    fuzzing.fuzz("csv", reader, folder, inputs=5)
    first = seen[1:]
    seen.clear()
    fuzzing.fuzz("csv", reader, folder, inputs=3, first=2)
    assert seen[1:] == first[2:]
    assert len(set(first)) == 5
