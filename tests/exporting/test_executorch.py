"""Programs of ExecuTorch, run by its own runtime."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import smash
from smash.errors import DataError, InvalidValueError, MissingExtraError
from smash.exporting.executorch import read_executorch, write_executorch
from smash.exporting.export import export_network
from smash.exporting.predict import load_model
from smash.spaces import MemoryBankSpace, NasBench201Space, Task
from smash.spaces.choices import FunctionSpace
from smash.spaces.mobile.presets import MOBILE_PRESETS
from smash.spaces.mobile.space import MobileSpace
from smash.spaces.nas_bench_201 import NasBench201Options
from tests.exporting.answers import assert_same, expected, filled, images_for, signature_for
from tests.spaces.cases import OPTIONS

pytest.importorskip("executorch")


def chain(choose, task):
    """Chooses a network as a user's function does."""
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[task.dims - 1]
    width = choose("width", (4, 6))
    body = nn.Sequential(convolution(width, width, choose("kernel", (3, 5)), padding="same"))
    return nn.Sequential(
        convolution(task.channels, width, 3, stride=2),
        body,
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(width * 3**task.dims, task.classes),
    )


class Several(nn.Module):
    """Children as one network: ExecuTorch takes seconds for each graph, however small."""

    def __init__(self, children):
        super().__init__()
        self.parts = nn.ModuleList(children)

    def forward(self, images):
        return torch.cat([part(images) for part in self.parts], dim=1)


def spaces(task):
    """Lists all spaces, some for signals and the others for images: each child takes seconds."""
    if task.dims == 1:
        return MobileSpace(MOBILE_PRESETS["tiny"], task), FunctionSpace(chain, "chain", task)
    return (
        MemoryBankSpace(OPTIONS["tiny"].replaced(depth=1)),
        NasBench201Space(NasBench201Options(channels=2, cells=1)),
    )


@pytest.mark.parametrize("dims", [1, 2])
def test_program_of_each_space_agrees_with_the_child(dims, tmp_path, capfd):
    task = Task(channels=2, size=(8,) * dims, classes=3)
    children = [
        filled(space.build(space.smallest(), task, "cpu"), seed)
        for seed, space in enumerate(spaces(task))
    ]
    child = Several(children).eval()
    signature = signature_for(Task(channels=2, size=(8,) * dims, classes=3 * len(children)))
    path = tmp_path / "model.pte"
    exported = export_network(child, signature, {"id": "é"}, path)
    assert exported.parity.difference <= exported.parity.allowed
    model = load_model(path)
    assert model.signature == signature
    images = images_for(signature, 3)
    found, wanted = model.run(images), expected(child, signature, images)
    for part in range(0, wanted.shape[1], 3):
        assert_same(found[:, part : part + 3], wanted[:, part : part + 3])
    content = path.read_bytes()
    assert rb'{"id": "\u00e9"}' in content
    for private in (Path(smash.__file__).parent, Path(torch.__file__).parent, Path.home()):
        assert str(private).encode() not in content
    assert b".py" not in content
    assert capfd.readouterr() == ("", "")  # The runtime logs in its own process.


def test_volumes_are_refused_with_advice(tmp_path):
    signature = signature_for(Task(channels=1, size=(4, 4, 4), classes=3))
    with pytest.raises(InvalidValueError, match=r"no kernels for volumes, got inputs of 4x4x4"):
        write_executorch(nn.Flatten(), signature, {}, tmp_path / "model.pte")


def test_network_that_torch_cannot_trace_is_refused(tmp_path):
    class Undecided(nn.Module):
        def forward(self, images):
            return images if images.sum() > 0 else -images

    signature = signature_for(Task(channels=1, size=(4,), classes=4))
    with pytest.raises(InvalidValueError, match=r"Undecided cannot be written as \.pte"):
        write_executorch(Undecided(), signature, {}, tmp_path / "model.pte")
    assert not list(tmp_path.iterdir())


def test_damaged_program_is_refused(tmp_path):
    path = tmp_path / "model.pte"
    for content in (b"", b"\x00" * 1000):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot be run as \.pte"):
            read_executorch(path)


def test_missing_package_is_named(monkeypatch, tmp_path):
    signature = signature_for(Task(channels=1, size=(4,), classes=4))
    monkeypatch.setitem(sys.modules, "executorch.exir", None)
    with pytest.raises(MissingExtraError, match=r"smash-nas\[executorch\]"):
        write_executorch(nn.Flatten(), signature, {}, tmp_path / "model.pte")
