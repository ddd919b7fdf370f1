"""Spaces that an installed package brings along, for the commands of a shell."""

from __future__ import annotations

import sys

import pytest

from smash.config import SpaceSettings
from smash.errors import InvalidValueError
from smash.run.run import Run
from smash.spaces import make_space
from tests.answers import call
from tests.spaces.chain import ChainSpace

MODULE = """
from tests.spaces.chain import ChainSpace

def make(settings, dims):
    return ChainSpace(**settings.options)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package with an entry point, which is a folder beside the module."""

    def install(value: str) -> None:
        folder = tmp_path / "chains-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: chains\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[smash.spaces]\nchain = {value}\n")
        (tmp_path / "chains_of_a_user.py").write_text(MODULE)
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    sys.modules.pop("chains_of_a_user", None)


def test_make_space_entry_point_is_found_by_commands(package, tmp_path, capsys):
    package("chains_of_a_user:make")
    run = str(tmp_path / "run")
    train = ("train", "digits", "--space", "chain", "-o", "depth=2", "--epochs", "1", "--out", run)
    assert call(*train, "--device", "cpu") == 0, capsys.readouterr().err
    assert Run.open(run).space.depth == 2
    search = ("search", run, "--random", "3", "--perturb", "1", "--markov", "1", "--device", "cpu")
    assert call(*search) == 0, capsys.readouterr().err


def test_make_space_broken_entry_point_exits_with_one_line(package, tmp_path, capsys):
    package("chains_of_a_user:forgotten")
    run = str(tmp_path / "run")
    assert call("train", "digits", "--space", "chain", "--out", run) == 2
    error = capsys.readouterr().err
    assert "'chain' cannot be loaded from 'chains_of_a_user:forgotten'" in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_make_space_unknown_name_raises():
    with pytest.raises(InvalidValueError, match=r"an entry point 'smash\.spaces'"):
        make_space(SpaceSettings(name="chain"), dims=2)


def test_make_space_registered_space_precedes_entry_point(package, monkeypatch):
    package("chains_of_a_user:forgotten")
    monkeypatch.setitem(make_space.__globals__["SPACES"], "chain", lambda *_: ChainSpace(5))
    assert make_space(SpaceSettings(name="chain"), dims=2).depth == 5
