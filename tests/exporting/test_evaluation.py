from __future__ import annotations

from dataclasses import replace

import pytest

from smash.errors import InvalidValueError
from smash.exporting.evaluation import check_fits
from smash.exporting.signature import Signature

OWN = Signature(
    classes=tuple("0123456789"), channels=1, size=(8, 8), scaled=True, mean=(0.5,), std=(0.2,)
)


def test_a_model_of_the_data_fits(digits):
    check_fits(OWN, digits)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"classes": tuple("9876543210")}, "the classes of the data, 0, 1, 2, 3, 4, and 5 more"),
        ({"channels": 3, "mean": (0.5,) * 3, "std": (1.0,) * 3}, "the channels of the data, 1, ha"),
        ({"size": (4, 4)}, "the size of the data, 8, 8, has 4, 4: name a file"),
    ],
)
def test_a_model_of_other_data_is_refused(digits, change, fault):
    with pytest.raises(InvalidValueError, match=fault):
        check_fits(replace(OWN, **change), digits)
