from __future__ import annotations

from typing import Any

import pytest
import torch

import smash

TINY: dict[str, Any] = {"preset": "tiny", "options": {"depth": 1, "max_width": 16}, "device": "cpu"}


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tests run side by side, and results are compared bit by bit."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Tests leave nothing in the user's cache, and find nothing there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMASH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def digits():
    return smash.load_data("digits")


@pytest.fixture
def run(digits, tmp_path):
    """A run whose network was trained for an epoch."""
    return smash.train(digits, tmp_path / "run", epochs=1, **TINY)
