"""The demo: the whole loop, here with little of each step."""

from __future__ import annotations

import pytest

from smash import Child, Run


@pytest.fixture
def brief(monkeypatch):
    sizes = {"MOST_PARAMETERS": 20_000, "SMASH_EPOCHS": 1, "EPOCHS": 1, "RANDOM": 6, "PERTURB": 0}
    for name, value in {**sizes, "FINALISTS": 2, "SEEDS": 1}.items():
        monkeypatch.setattr(f"smash.cli.demo._{name}", value)


def test_demo_compares_the_winner_with_others_within_its_limit(brief, command, tmp_path):
    out = tmp_path / "demo"
    ended = command("demo", "--out", str(out), "--device", "cpu")
    assert ended.code == 0
    assert "2,500 test examples of 14×14" in ended.err
    for role in ("winner", "median-ranked", "ds-cnn"):
        assert role in ended.out
    assert (out / "report.html").is_file()
    assert all(child.record.params <= 20_000 for child in Child.of_run(Run.open(out)))
    again = command("demo", "--out", str(out))
    assert (again.code, again.faults) == (
        2,
        [f"smash: {str(out)!r} already exists and is kept: choose another --out"],
    )
