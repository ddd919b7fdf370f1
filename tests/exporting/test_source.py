from __future__ import annotations

import pytest

from smash.errors import InvalidValueError
from smash.exporting.source import gather, source_of

LAYERS = '''
"""Layers."""
from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from collections.abc import Callable
from torch import Tensor

FEW, MANY = 3, 9  # numbers
LIMIT: int = FEW


# Doubles.
@staticmethod
def double(x: Tensor, by: Callable = F.relu) -> Report:
    FEW = 2
    return by(x) * FEW  # type: ignore[no-any-return]


def unused() -> None:
    np.zeros(MANY)


class Report(Base):
    pass
'''
NETWORK = """
import json
from layers import LIMIT, double


def build():
    return [double(LIMIT) for MANY in range(3)]


raise SystemExit("statements that bind nothing are not taken")
"""


def test_gather_takes_what_is_used_and_nothing_else():
    imports, code = gather({"layers": LAYERS, "network": NETWORK}, "build()", own="import torch")
    assert imports.splitlines() == [
        "from collections.abc import Callable",
        "from torch import Tensor",
        "import torch",
        "import torch.nn.functional as F",
    ]
    assert code == (
        "# From layers.\n\nFEW, MANY = 3, 9  # numbers\nLIMIT: int = FEW\n\n\n# Doubles.\n"
        "@staticmethod\ndef double(x: Tensor, by: Callable = F.relu) -> Report:\n    FEW = 2\n"
        "    return by(x) * FEW\n\n\n# From network.\n\n\ndef build():\n"
        "    return [double(LIMIT) for MANY in range(3)]"
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("unused()", r"layers uses 'np' of 'numpy', and a \.py must need torch alone"),
        ("load()", "'load' has different meanings in the exported file itself and in network"),
        ("same()", "'same' has different meanings in layers and in network: rename one of them"),
    ],
)
def test_gather_refuses_what_cannot_be_one_file(code, words):
    sources = {
        "layers": f"{LAYERS}\nsame = 1",
        "network": f"{NETWORK}\ndef load(): pass\ndef same(): pass",
    }
    with pytest.raises(InvalidValueError, match=words):
        gather(sources, code, own="load = None")


def test_source_of_module_without_file_is_refused():
    with pytest.raises(InvalidValueError, match="'sys' has no source file"):
        source_of("sys")
