"""Names and paths of data."""

from __future__ import annotations

import pytest

from smash.data.names import check_exists
from smash.errors import NotFoundError


def test_check_exists_refuses_missing_paths_and_accepts_names(tmp_path):
    check_exists("digits")
    check_exists(tmp_path)
    for source in (tmp_path / "a", str(tmp_path / "a"), "a.npz", "a/b"):
        with pytest.raises(NotFoundError, match="does not exist"):
            check_exists(source)
