"""The long form is ``python -m benchmarks.folders``: 2,000 folders."""

from __future__ import annotations

from benchmarks.folders import check_trees


def test_check_trees_finds_no_crash(tmp_path, monkeypatch):
    monkeypatch.setenv("SMASH_CACHE", "is set by the function")
    result = check_trees(40, seed=1, workplace=tmp_path)
    assert result["crashes"] == []
    assert result["read"] > 3
    assert result["refused"] > 3
