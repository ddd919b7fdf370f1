from __future__ import annotations

import pytest
import torch

from smash.errors import RunStateError
from smash.io.tensors import load_tensors, save_tensors


def test_load_tensors_returns_tensors_and_their_metadata(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(7)}
    save_tensors(tmp_path / "t.safetensors", tensors, {"epoch": 3, "name": "é"})
    found, about = load_tensors(tmp_path / "t.safetensors")
    assert about == {"epoch": 3, "name": "é"}
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


@pytest.mark.parametrize("cut", [0, 1, 7, 40, -1])
def test_load_tensors_of_a_cut_file_is_refused(tmp_path, cut):
    path = tmp_path / "t.safetensors"
    save_tensors(path, {"a": torch.ones(8)}, {})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(RunStateError, match="is damaged"):
        load_tensors(path)


def test_save_tensors_twice_gives_the_same_bytes(tmp_path):
    tensors = {name: torch.arange(3.0) for name in "badc"}
    contents = set()
    for number in range(20):
        save_tensors(tmp_path / str(number), tensors, {"step": 3, "loss": 0.1})
        contents.add((tmp_path / str(number)).read_bytes())
    assert len(contents) == 1


def test_load_tensors_refuses_altered_bytes(tmp_path):
    path = tmp_path / "file"
    save_tensors(path, {"a": torch.arange(3.0)}, {"step": 3})
    tensors, about = load_tensors(path)
    assert about == {"step": 3}
    assert tensors["a"].tolist() == [0, 1, 2]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunStateError, match="its checksum does not match its content"):
        load_tensors(path)
