from __future__ import annotations

import getpass
import platform
import shlex
import socket
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import smash
from smash.run.layout import CONFIG

USER, HOST = "jane-doe", "janes-laptop"
SPACE = """
from torch import nn


def small(choose, task):
    width, kernel = choose("width", (4, 6, 8, 10)), choose("kernel", (1, 3, 5))
    return nn.Sequential(
        nn.Conv2d(task.channels, width, kernel, padding=kernel // 2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, task.classes),
    )
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory with data and code, on a machine with a name."""
    home = tmp_path / USER
    for variable in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(variable, USER)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setattr(platform, "node", lambda: HOST)
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (home / "photos" / label).mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(home / "photos" / label / f"{number}.png")
    files = sorted(path.relative_to(home / "photos") for path in home.rglob("*.png"))
    rows = [f"{path.as_posix()},patient {path.stem}" for path in files]
    (home / "groups.csv").write_text("\n".join(["file,group", *rows]) + "\n")
    (home / "space.py").write_text(SPACE)
    (home / "time.py").write_text("print(0.001)\n")
    monkeypatch.setenv("SMASH_SPACE", f"{home / 'space.py'}:small")
    return home


def test_run_folder_names_nothing_of_its_machine_but_the_data(home, command):
    pytest.importorskip("onnxruntime")
    assert (getpass.getuser(), Path.home()) == (USER, home)
    run = home / "runs" / "small"
    space, child = home / "space.py", run / "children" / "best"
    timed = shlex.join([sys.executable, str(home / "time.py"), f"--from={home}", "{model}"])
    brief = ["--epochs", "1", "--device", "cpu"]
    few = ["--random", "3", "--perturb", "0", "--markov", "0", "--device", "cpu"]
    limit = ["--max-latency", "1s", "--latency-format", "py", "--latency-command", timed]
    data = [home / "photos", "--groups", home / "groups.csv", "--space", f"{space}:small"]
    for argv in (
        ["train", *data, "--tensorboard", "--out", run, *brief],
        ["search", run, *few, *limit],
        ["retrain", run, "--name", "best", "--finalists", "2", "--test", "--tensorboard", *brief],
        *(["export", child, "--to", child / f"m.{to}"] for to in ("int8.onnx", "pt2", "py")),
        ["compare", run, "--seeds", "1", "--random", "0", "--families", "cnn", *brief],
        ["correlate", run, "--train", "3", *brief],
        ["report", run],
    ):
        answer = command(*map(str, argv))
        assert answer.code == 0, answer.err
    private = [USER, HOST, tempfile.gettempdir(), str(Path.cwd()), sys.executable, 'File "']
    private.append(str(Path(smash.__file__).parent))
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 20
    found = {
        (str(path.relative_to(run)), text)
        for path in files
        for text in private
        if text in path.name or text.encode() in path.read_bytes()
    }
    config = (run / CONFIG).read_text()
    for setting in ("source", "groups"):
        (line,) = (line for line in config.splitlines() if line.startswith(f'{setting} = "/'))
        config = config.replace(line, "")
    assert {name for name, _ in found} == {CONFIG}
    assert not any(text in config for text in private)
    assert "photos" in (run / "report.html").read_text()
