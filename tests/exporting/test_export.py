from __future__ import annotations

import json
import shutil

import pytest
import torch
from torch import nn

from smash.config import SpaceSettings
from smash.data.transforms import normalise
from smash.errors import (
    AlreadyExistsError,
    DataError,
    InvalidValueError,
    NotFoundError,
    ParityError,
    RunStateError,
)
from smash.exporting import export
from smash.exporting.export import _WRITERS, export_network, signature_of
from smash.exporting.onnx import OnnxNetwork
from smash.exporting.parity import check_parity, run_apart
from smash.exporting.safetensors import read_safetensors
from smash.run.child import Child
from smash.spaces import MemoryBankSpace, Task
from tests.exporting.answers import assert_same, expected, filled, images_for, signature_for
from tests.spaces.cases import OPTIONS, SMALL, rng_of, task_of

TASK = Task(channels=1, size=(4, 4), classes=3)


@pytest.fixture
def child(finished, tmp_path):
    path = shutil.copytree(finished, tmp_path / "run")
    return Child.open(next((path / "children").iterdir()))


def small():
    return filled(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)))


@torch.no_grad()
def test_a_child_is_exported_in_each_format(exported, finished, digits):
    """From bytes to logits, as a user of the files would."""
    child = Child.open(next((finished / "children").iterdir()))
    images = digits.test.images[:7]
    wanted = child.model(torch.device("cpu"))(digits.normalise(images))
    names = {file.name for file in exported.iterdir()}
    assert names == {"m.onnx", "m.py", "m.safetensors", "architecture.json", "n.safetensors"}
    network, signature = read_safetensors(exported / "n.safetensors")
    assert signature.classes == tuple("0123456789")
    assert signature.scaled
    assert_same(network(images / 255), wanted)
    assert_same(run_apart(exported / "m.py", images / 255), wanted)
    assert_same(OnnxNetwork(exported / "m.onnx")(images / 255), wanted)


def test_it_needs_neither_the_data_nor_what_a_run_was_made_with(child, tmp_path):
    config = child.run.path / "config.toml"
    config.write_text(config.read_text().replace('source = "digits"', 'source = "/nowhere"'))
    again = Child.open(child.path)
    assert export(again, tmp_path / "out.safetensors").files[0].is_file()


def test_a_child_of_an_older_release_asks_the_data(child):
    about = json.loads((child.path / "architecture.json").read_text())
    older = {name: one for name, one in about.items() if name not in ("size", "scaled", "channels")}
    assert len(older) == len(about) - 3
    (child.path / "architecture.json").write_text(json.dumps(older))
    assert signature_of(Child.open(child.path)) == signature_of(child)


def test_code_in_the_childs_folder_uses_its_weights(child):
    before = (child.path / "model.safetensors").read_bytes()
    made = export(child, child.path / "model.py")
    assert made.files == (child.path / "model.py", child.path / "model.safetensors")
    assert (child.path / "model.safetensors").read_bytes() == before
    with pytest.raises(InvalidValueError, match="takes the folder as it is"):
        export(child, child.path / "other.safetensors")


def test_code_runs_where_this_package_is_not(tmp_path):
    """What is refused in the process that checks is refused for real."""
    (tmp_path / "model.py").write_text("import smash\n")
    with pytest.raises(ParityError, match="smash is not part of torch"):
        run_apart(tmp_path / "model.py", torch.zeros(1, 1))


def test_code_that_does_not_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("smash.exporting.parity._SECONDS", 0.1)
    (tmp_path / "model.py").write_text("while True: pass\n")
    with pytest.raises(ParityError, match=r"may run for 0\.1 s .* while nothing else runs"):
        run_apart(tmp_path / "model.py", torch.zeros(1, 1))


def test_a_mismatch_is_an_error_and_leaves_no_file(tmp_path, monkeypatch):
    write = _WRITERS[".safetensors"]

    def wrong(child, signature, about, path):
        run = write(child, signature, about, path)
        return lambda images: run(images) + 1e-3

    monkeypatch.setitem(_WRITERS, ".safetensors", wrong)
    about = {"baseline": "resnet-8-1"}
    from smash.spaces.baselines import make_baseline

    child = filled(make_baseline("resnet-8-1", TASK, "cpu"))
    with torch.no_grad():
        child.classifier.weight.mul_(1e-3)  # so that 1e-3 is more than is allowed
        child.classifier.bias.zero_()
    with pytest.raises(ParityError, match="nothing was written"):
        export_network(child, signature_for(TASK), about, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    export_network(child, signature_for(TASK), about, tmp_path / "model.safetensors")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("slip", ["normalisation", "infinite"])
def test_parity_sees_slips(slip):
    child, signature = small(), signature_for(TASK)

    def run(images):
        if slip == "infinite":
            return child(normalise(images, signature.mean, signature.std)) / 0
        return child(images)

    with torch.no_grad(), pytest.raises(ParityError):
        check_parity(run, child, signature, "model")


def test_files_that_are_there_are_kept(child, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "architecture.json").write_text("mine")
    with pytest.raises(AlreadyExistsError, match=r"architecture\.json already there"):
        export(child, folder / "model.safetensors")
    assert [entry.name for entry in folder.iterdir()] == ["architecture.json"]
    export(child, folder / "model.safetensors", force=True)
    network, _ = read_safetensors(folder / "model.safetensors")
    images = images_for(signature_of(child))
    with torch.no_grad():
        wanted = child.model(torch.device("cpu"))((images - network.mean) / network.std)
        assert_same(network(images), wanted)


@pytest.mark.parametrize("name", SMALL)
def test_weights_of_any_option_are_read_back(tmp_path, name):
    """The architecture beside them is all that says what they are of."""
    options = OPTIONS[name]
    space, task = MemoryBankSpace(options), task_of(options)
    architecture = space.sample(rng_of(len(name)))
    child = filled(space.build(architecture, task, "cpu"))
    settings = SpaceSettings(options=options.model_dump(exclude={"dims"}))
    about = {"architecture": space.to_json(architecture), "space": settings.model_dump()}
    signature = signature_for(task)
    export_network(child, signature, about, tmp_path / "model.safetensors")
    network, found = read_safetensors(tmp_path / "model.safetensors")
    assert found == signature
    images = images_for(signature)
    with torch.no_grad():
        assert_same(network(images), expected(child, signature, images))


def test_formats_are_told_by_their_ending(tmp_path):
    with pytest.raises(InvalidValueError, match=r"\.onnx, \.py, \.safetensors"):
        export_network(small(), signature_for(TASK), {}, tmp_path / "model.pt")


def test_weights_without_their_architecture_are_refused(child, tmp_path):
    weights, described = export(child, tmp_path / "a.safetensors").files
    about = json.loads(described.read_text())
    described.unlink()
    with pytest.raises(NotFoundError, match=r"architecture\.json beside it"):
        read_safetensors(weights)
    described.write_text(json.dumps({**about, "space": {"name": "nas-bench-201"}}))
    with pytest.raises(InvalidValueError):
        read_safetensors(weights)
    described.write_text(json.dumps({**about, "classes": about["classes"][:-1]}))
    with pytest.raises(RunStateError, match="does not fit"):
        read_safetensors(weights)
    described.write_text(json.dumps({**about, "size": "8x8"}))
    with pytest.raises(DataError, match="size"):
        read_safetensors(weights)
