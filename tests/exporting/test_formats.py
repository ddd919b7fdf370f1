from __future__ import annotations

from pathlib import Path

import pytest

from smash.errors import InvalidValueError
from smash.exporting.formats import files_of


def test_files_of_a_format_are_those_that_it_writes():
    assert files_of(Path("a/b.int8.onnx")) == (Path("a/b.int8.onnx"),)
    assert files_of(Path("a/b.py")) == (Path("a/b.py"), Path("a/b.safetensors"))


@pytest.mark.parametrize("suffix", [".pt2", ".pte", ".py", ".safetensors"])
def test_int8_of_a_format_without_it_is_refused(suffix):
    with pytest.raises(InvalidValueError, match=r"int8 is for \.int8\.onnx alone, got 'b\.int8\."):
        files_of(Path(f"b.int8{suffix}"))
