"""Commands on a run folder of a stranger: nothing is written through its links, nothing waits."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.answers import content

COMMANDS = {
    "search": "search {run} --random 4 --perturb 1 --markov 1 --device cpu",
    "retrain": "retrain {run} --rank 1 --epochs 1 --device cpu",
    "resume": "train --resume --out {run}",
    "correlate": "correlate {run} --train 3 --epochs 1 --device cpu",
    "report": "report {run}",
    "show": "show {run}",
}


@pytest.fixture
def decoys(tmp_path):
    """Files and a folder outside the run, to which hostile links lead."""
    folder = tmp_path / "decoys"
    (folder / "folder").mkdir(parents=True)
    (folder / "file").write_text('{"a": 1}\nunfinished')
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.parametrize("action", COMMANDS)
@pytest.mark.parametrize(
    ("name", "target"),
    [
        (".search.lock", "file"),
        (".retrain.lock", "new"),
        ("study.journal", "file"),
        ("metrics.jsonl", "file"),
        ("children", "folder"),
        ("children/child", "folder"),
        ("snapshots", "folder"),
    ],
)
def test_commands_on_a_run_with_a_link_refuse_it_by_name(
    command, run, decoys, action, name, target
):
    path = run / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(decoys / target)
    before = content(decoys)
    answer = command(*COMMANDS[action].format(run=run).split())
    assert answer.code == 2
    assert answer.faults == [f"smash: {path} is a link, which a run folder may not hold: remove it"]
    assert content(decoys) == before


@pytest.mark.parametrize("name", ["copies", ".retrain.lock", "metrics.jsonl", "state.safetensors"])
def test_retrain_of_a_child_with_a_link_refuses_it_by_name(command, run, decoys, name):
    (child,) = (run / "children").iterdir()
    (child / "result.json").unlink()
    (child / name).unlink(missing_ok=True)
    (child / name).symlink_to(decoys / "folder")
    before = content(decoys)
    answer = command("retrain", str(run), "--rank", "0", "--epochs", "1", "--device", "cpu")
    assert answer.code == 2
    assert f"{child / name} is a link" in answer.faults[0]
    assert content(decoys) == before


@pytest.mark.parametrize("name", ["study.journal", "config.toml", "network.safetensors"])
def test_commands_on_a_run_with_a_pipe_refuse_it_and_do_not_wait(command, run, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    answer = command("show", str(run))
    assert answer.code == 2
    assert answer.faults == [
        f"smash: {run / name} is no regular file, which a run folder may not hold: remove it"
    ]
