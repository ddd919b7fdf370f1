from __future__ import annotations

import pytest
import torch

from smash.config import SpaceSettings
from smash.errors import DataError, InvalidValueError, RunStateError
from smash.exporting.safetensors import read_safetensors, write_safetensors
from smash.io.tensors import load_tensors, save_tensors
from smash.spaces import MemoryBankSpace
from tests.exporting.answers import assert_same, expected, filled, images_for, signature_for
from tests.spaces.cases import OPTIONS, SMALL, rng_of, task_of


def write(folder, name):
    """Writes a child of the memory-bank space with the options of this name."""
    options = OPTIONS[name]
    space, task = MemoryBankSpace(options), task_of(options)
    architecture = space.sample(rng_of(len(name)))
    child, signature = filled(space.build(architecture, task, "cpu")), signature_for(task)
    settings = SpaceSettings(options=options.model_dump(exclude={"dims"}))
    description = {"architecture": space.to_json(architecture), "space": settings.model_dump()}
    write_safetensors(child, signature, description, folder / "model.safetensors")
    return child, signature


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_child_of_any_option_is_read_back(tmp_path, name):
    child, signature = write(tmp_path, name)
    network, found = read_safetensors(tmp_path / "model.safetensors")
    assert found == signature
    images = images_for(signature)
    assert_same(network(images), expected(child, signature, images))


def test_two_exports_in_one_folder_are_both_read_back(tmp_path):
    for name in SMALL[:2]:
        write(tmp_path, name)
        (tmp_path / "model.safetensors").rename(tmp_path / f"{name}.safetensors")
    for name in SMALL[:2]:
        read_safetensors(tmp_path / f"{name}.safetensors")
    assert len([*tmp_path.iterdir()]) == 2


def test_weights_without_their_description_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_tensors(path, {"weight": torch.zeros(2)}, {})
    with pytest.raises(DataError, match="holds weights alone"):
        read_safetensors(path)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"space": {"name": "nas-bench-201"}}, InvalidValueError, "cell"),
        ({"classes": ["a"]}, RunStateError, "do not fit"),
        ({"size": "8x8"}, DataError, "size"),
        ({"architecture": 3}, RunStateError, "architecture"),
    ],
)
def test_weights_with_another_description_are_refused(tmp_path, change, error, words):
    write(tmp_path, SMALL[0])
    path = tmp_path / "model.safetensors"
    tensors, about = load_tensors(path)
    save_tensors(path, tensors, {"network": {**about["network"], **change}})
    with pytest.raises(error, match=words):
        read_safetensors(path)
