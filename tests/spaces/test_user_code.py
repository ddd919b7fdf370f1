"""Spaces in files of the user: they run where the user names them, and nowhere else."""

from __future__ import annotations

import pytest

import smash
from smash.errors import InvalidValueError, NotFoundError
from smash.spaces import SPACES
from smash.spaces.user_code import load_space, short_name, source_digest
from smash.training.settings import TrainSettings

SOURCE = """
from pathlib import Path
from torch import nn

Path(__file__).with_suffix(".ran").touch()


def network(choose, task):
    width = choose("width", (4, 8))
    return nn.Sequential(
        nn.Conv2d(task.channels, width, choose("kernel", (1, 3)), padding="same"),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, task.classes),
    )
"""
SEARCH = ("--random", "3", "--perturb", "0", "--markov", "0", "--device", "cpu")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.delenv("SMASH_SPACE", raising=False)
    before = dict(SPACES)
    yield
    SPACES.clear()
    SPACES.update(before)


def test_a_function_in_a_file_trains_searches_and_retrains(file, tmp_path, command):
    run = tmp_path / "run"
    space = f"{file}:network"
    argv = ["digits", "--space", space, "--epochs", "1", "--device", "cpu", "--out", str(run)]
    assert not command("train", *argv).code
    SPACES.pop("mine.py:network")  # as in a new process
    prior = ("--prior", "main-effects+macs")
    answer = command("--space", space, "search", str(run), *SEARCH, *prior)
    assert answer.code == 0, answer.err
    assert "ranked by score and main-effects+macs" in answer.out
    assert command("show", str(run)).out.split() == answer.out.split()
    SPACES.pop("mine.py:network", None)
    answer = command("--space", space, "retrain", str(run), "--rank", "0", "--epochs", "1")
    assert answer.code == 0, answer.err
    assert str(tmp_path) not in (run / "config.toml").read_text().split("[data]")[0]


def test_train_refuses_a_space_before_its_name_instead_of_searching_another(
    file, tmp_path, command
):
    answer = command(
        "--space", f"{file}:network", "train", "digits", "--out", str(tmp_path / "run")
    )
    assert answer.code == 2
    assert f"'smash train DATA --space {file}:network'" in answer.err
    assert not (tmp_path / "run").exists()


def test_a_run_folder_alone_runs_no_code(file, tmp_path, command, monkeypatch):
    run = tmp_path / "run"
    command("train", "digits", "--space", f"{file}:network", "--epochs", "1", "--out", str(run))
    SPACES.pop("mine.py:network")
    file.with_suffix(".ran").unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMASH_SPACE", raising=False)
    answer = command("search", str(run), *SEARCH)
    assert answer.code == 2
    assert "smash --space PATH/mine.py:network" in answer.err
    assert not file.with_suffix(".ran").exists()


def test_a_changed_function_is_refused(file, tmp_path, command):
    run = tmp_path / "run"
    command("train", "digits", "--space", f"{file}:network", "--epochs", "1", "--out", str(run))
    SPACES.pop("mine.py:network")
    file.write_text(SOURCE.replace("(4, 8)", "(4, 9)"))
    answer = command("--space", f"{file}:network", "search", str(run), *SEARCH)
    assert answer.code == 2
    assert "has changed since the run was made" in answer.err


@pytest.mark.parametrize(
    ("source", "function", "message"),
    [
        ("", "network", "has no 'network'"),
        ("raise OSError('broken')", "network", "cannot be imported: OSError: broken"),
        ("network = 3", "network", "must be made of a function"),
        ("def network(task): ...", "network", "must take"),
    ],
)
def test_a_file_without_a_network_function_is_one_line(tmp_path, source, function, message):
    path = tmp_path / "broken.py"
    path.write_text(source)
    with pytest.raises((InvalidValueError, NotFoundError), match=message) as raised:
        load_space(f"{path}:{function}")
    assert len(str(raised.value).splitlines()) == 1


def test_a_file_runs_once_until_it_changes(tmp_path):
    path = tmp_path / "counting.py"
    source = (
        "from pathlib import Path\n"
        f"with Path({str(tmp_path / 'log')!r}).open('a') as log: log.write('run ')\n"
        "def network(choose, task): ...\n"
    )
    path.write_text(source)
    settings = TrainSettings(space=f"{path}:network").replaced(seed=1)
    settings.replaced(seed=2)
    assert (tmp_path / "log").read_text() == "run "
    path.write_text(source + "# changed\n")
    settings.replaced(seed=3)
    assert (tmp_path / "log").read_text() == "run run "
    SPACES.pop("counting.py:network")


def test_a_missing_file_or_module_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"none\.py' does not exist"):
        load_space(f"{tmp_path}/none.py:network")
    with pytest.raises(NotFoundError, match="'no_such_module' does not exist"):
        load_space("no_such_module:network")


def test_a_space_object_is_registered_by_train(digits, tmp_path, file):
    space = load_space(f"{file}:network")
    run = smash.train(digits, tmp_path / "run", space=space, epochs=1, device="cpu")
    assert run.settings.space.name == "mine.py:network" == space.name
    assert run.settings.space.source == source_digest(space)
    study = smash.search(run, random=2, perturb=0, markov=0)
    chosen = space.to_json(study.ranked()[0].architecture)
    assert chosen.keys() == {"width", "kernel"}


def test_short_name_leaves_out_directories():
    assert short_name("/home/someone/spaces/net.py:build") == "net.py:build"
    assert short_name("package.module:build") == "package.module:build"
