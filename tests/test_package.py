"""The package as a whole: its public names, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import smash


@pytest.mark.parametrize("module", ["smash", "smash.cli.main"])
def test_imports_of_the_help_page_load_neither_torch_nor_optuna(module):
    code = (
        f"import sys, {module}\n"
        "print(*{'torch', 'optuna', 'numpy', 'scipy', 'sklearn'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_public_names_are_importable():
    missing = [name for name in smash.__all__ if not hasattr(smash, name)]
    assert missing == []
    assert set(smash.__all__) <= set(dir(smash))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'smash' has no attribute 'searching_'"):
        _ = smash.searching_
