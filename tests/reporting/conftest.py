from __future__ import annotations

import pytest

from smash.reporting.contents import Contents
from tests.reporting.made import candidates, contents_of


@pytest.fixture(scope="session")
def some():
    return candidates(40)[0]


@pytest.fixture(scope="session")
def contents(some) -> Contents:
    return contents_of(some)
