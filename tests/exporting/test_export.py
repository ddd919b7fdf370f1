from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import sysconfig
import tempfile
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from smash.errors import AlreadyExistsError, InvalidValueError, ParityError
from smash.exporting.export import _WRITERS, export, export_network, signature_of
from smash.exporting.onnx import OnnxNetwork
from smash.exporting.parity import run_isolated
from smash.exporting.safetensors import read_safetensors
from smash.run.child import Child
from smash.spaces.baselines import make_baseline
from smash.spaces.task import Task
from tests.exporting.answers import assert_same, filled, images_for, signature_for
from tests.processes import begin, in_process

TASK = Task(channels=1, size=(4, 4), classes=3)


@pytest.fixture
def child(finished, tmp_path):
    path = shutil.copytree(finished, tmp_path / "run")
    return Child.open(next((path / "children").iterdir()))


@torch.no_grad()
def test_export_in_each_format_gives_the_logits_of_the_child(exported, finished, digits):
    """From bytes to logits, as a user of the files would."""
    child = Child.open(next((finished / "children").iterdir()))
    images = digits.test.images[:7]
    wanted = child.model(torch.device("cpu"))(digits.normalise(images))
    names = {file.name for file in exported.iterdir()}
    assert names == {"m.onnx", "m.py", "m.safetensors", "n.safetensors"}
    network, signature = read_safetensors(exported / "n.safetensors")
    assert signature.classes == tuple("0123456789")
    assert signature.scaled
    assert_same(network(images / 255), wanted)
    (logits,) = run_isolated(exported / "m.py", [images / 255], signature.classes)
    assert_same(logits, wanted)
    assert_same(OnnxNetwork(exported / "m.onnx")(images / 255), wanted)


def test_exported_files_name_nothing_of_this_machine(exported, finished):
    """No path, and no source line of the exporter."""
    (child,) = (finished / "children").iterdir()
    package = Path(sysconfig.get_paths()["purelib"])
    source = Path(export.__code__.co_filename).parents[2]
    private = {str(Path.home()), str(Path.cwd()), str(package), str(source), str(finished)}
    private |= {'File "', "stack_trace", "site-packages", tempfile.gettempdir()}
    files = [*exported.iterdir(), *(child / name for name in ("architecture.json",))]
    assert len(files) == 5
    for file in files:
        content = file.read_bytes()
        for text in private:
            assert text.encode() not in content, (file.name, text)
        if file.suffix != ".py":  # A .py is source, of the network alone.
            assert b".py" not in content, file.name


def test_export_needs_neither_the_data_nor_their_source(child, tmp_path):
    config = child.run.path / "config.toml"
    config.write_text(config.read_text().replace('source = "digits"', 'source = "/nowhere"'))
    again = Child.open(child.path)
    assert export(again, tmp_path / "out.safetensors").files[0].is_file()


def test_code_in_the_childs_folder_uses_its_weights(child):
    before = (child.path / "model.safetensors").read_bytes()
    made = export(child, child.path / "model.py")
    assert made.files == (child.path / "model.py", child.path / "model.safetensors")
    assert (child.path / "model.safetensors").read_bytes() == before
    with pytest.raises(InvalidValueError, match="takes the folder itself"):
        export(child, child.path / "other.safetensors")


def test_export_that_differs_is_an_error_and_leaves_no_file(tmp_path, monkeypatch):
    write = _WRITERS[".safetensors"]

    def wrong(child, signature, description, path):
        run = write(child, signature, description, path)
        return lambda batches: [logits + 1e-3 for logits in run(batches)]

    monkeypatch.setitem(_WRITERS, ".safetensors", wrong)
    description = {"baseline": "resnet-8-1"}
    child = filled(make_baseline("resnet-8-1", TASK, "cpu"))
    with torch.no_grad():
        child.classifier.weight.mul_(1e-3)  # So that 1e-3 is more than is allowed.
        child.classifier.bias.zero_()
    with pytest.raises(ParityError, match="nothing was written"):
        export_network(child, signature_for(TASK), description, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    export_network(child, signature_for(TASK), description, tmp_path / "model.safetensors")
    assert len(list(tmp_path.iterdir())) == 1


def test_export_over_existing_files_needs_force(child, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "model.safetensors").write_text("mine")
    with pytest.raises(AlreadyExistsError, match=r"model\.safetensors already exists"):
        export(child, folder / "model.safetensors")
    assert (folder / "model.safetensors").read_text() == "mine"
    export(child, folder / "model.safetensors", force=True)
    network, _ = read_safetensors(folder / "model.safetensors")
    images = images_for(signature_of(child))
    with torch.no_grad():
        wanted = child.model(torch.device("cpu"))((images - network.mean) / network.std)
        assert_same(network(images), wanted)


def _export_for_ever(folder):
    write = _WRITERS[".safetensors"]
    _WRITERS[".safetensors"] = lambda *arguments: (write(*arguments), time.sleep(600))
    _export_a_baseline(folder)


def _export_a_baseline(folder):
    child = filled(make_baseline("resnet-8-1", TASK, "cpu"))
    description = {"baseline": "resnet-8-1"}
    export_network(
        child, signature_for(TASK), description, folder / "model.safetensors", force=True
    )


def test_export_removes_what_a_killed_one_left_but_nothing_of_one_that_runs(tmp_path):
    process = begin(_export_for_ever, tmp_path)
    while not (written := list(tmp_path.glob(".export-*/model.safetensors"))):
        assert process.is_alive()
        time.sleep(0.01)
    names = ["model.safetensors"]
    _export_a_baseline(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [written[0].parent.name, *names]
    assert written[0].exists()
    process.kill()
    process.join()
    _export_a_baseline(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == names


def test_export_to_an_unknown_suffix_is_refused(tmp_path):
    child = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(InvalidValueError, match=r"\.onnx, \.int8\.onnx, \.pte, \.pt2, \.py"):
        export_network(child, signature_for(TASK), {}, tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("to", "fault"),
    [
        (".", "must end in a format"),
        ("", "must end in a format"),
        ("/", "must end in a format"),
        ("{tmp}/folder.onnx", "is a folder: name a file in it"),
        ("{tmp}/file/m.onnx", "file' is a file: name a file in a folder"),
    ],
)
def test_places_that_take_no_file_are_refused_in_a_line(finished, tmp_path, command, to, fault):
    (child,) = (finished / "children").iterdir()
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").touch()
    refused = command("export", str(child), "--to", to.format(tmp=tmp_path), "--force")
    assert refused.code == 2
    assert fault in refused.faults[0]


def test_a_folder_that_takes_no_files_is_refused_before_the_training(run, command, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode, **_: mode != os.W_OK)
    to = run.path / "m.onnx"
    refused = command("retrain", str(run.path), "--baseline", "cnn-2", "--export", str(to))
    assert refused.code == 2
    assert "cannot be written to: name another folder" in refused.faults[0]
    assert not (run.path / "children").exists()


def test_a_training_that_ended_before_its_export_is_exported_when_repeated(run, command):
    argv = ("retrain", str(run.path), "--baseline", "cnn-2", "--epochs", "1", "--device", "cpu")
    assert command(*argv).code == 0
    to = run.path / "m.safetensors"
    assert command(*argv, "--export", str(to)).code == 0
    assert to.is_file()


def test_command_reports_files_and_difference(finished, tmp_path, command):
    (child,) = (finished / "children").iterdir()
    to = tmp_path / "x.safetensors"
    found = json.loads(command("export", str(child), "--to", str(to), "--json").out)
    assert found["files"] == [str(to)]
    assert 0 <= found["difference"] <= found["allowed"]
    assert found["batches"] == [1, 5]
    again = command("export", str(child), "--to", str(to))
    assert again.code == 2
    assert "--force" in again.err
    shown = command("export", str(child), "--to", str(to), "--force")
    assert shown.code == 0
    assert "checked with batches of 1 and 5 examples" in shown.err
    assert command("export", str(child), "--to", "x.pt").code == 2
    assert command("export", str(tmp_path)).code == 2


def _export_with_a_file_size_limit(child, path):
    """Exports as on a disk that becomes full after 1000 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        export(Child.open(child), path)
    except OSError as error:
        assert error.errno == errno.EFBIG
        assert error.filename == str(path)
    else:
        raise AssertionError("it was written")


@pytest.mark.parametrize("name", ["m.py", "m.safetensors", "m.onnx"])
def test_export_on_a_full_disk_names_the_file_and_leaves_nothing(finished, tmp_path, name):
    (child,) = (finished / "children").iterdir()
    assert in_process(_export_with_a_file_size_limit, child, tmp_path / name) == 0
    assert list(tmp_path.iterdir()) == []
