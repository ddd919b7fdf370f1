from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import smash
from smash.errors import DataError, InvalidValueError
from smash.exporting.export import export_network
from smash.exporting.parity import example_images
from smash.exporting.predict import load_model
from smash.exporting.program import write_program
from smash.exporting.signature import ShippedNetwork, Signature
from smash.spaces import MemoryBankSpace
from smash.spaces.parameters import initialise
from tests.spaces.cases import OPTIONS

SIGNATURE = Signature(
    classes=("a", "b", "c"), channels=1, size=(8, 8), scaled=True, mean=(0.5,), std=(0.2,)
)


@pytest.fixture(scope="module")
def network():
    space = MemoryBankSpace(OPTIONS["tiny"])
    child = space.build(space.smallest(), SIGNATURE.task, "cpu")
    initialise(child, torch.Generator().manual_seed(0))
    return child.eval()


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    exported = export_network(network, SIGNATURE, {"id": "x"}, path)
    assert exported.parity.difference <= exported.parity.allowed
    assert exported.files == (path,)
    return path


def test_load_model_of_program_gives_the_logits_of_the_child(network, written):
    model = load_model(written)
    assert model.signature == SIGNATURE
    for count in (1, 7):
        images = example_images(SIGNATURE, count)
        with torch.no_grad():
            expected = ShippedNetwork(network, SIGNATURE)(images)
        assert torch.allclose(model.run(images), expected, atol=1e-5)
        assert not model.run(images).requires_grad


def test_program_names_no_path_or_source_of_this_machine(written):
    with zipfile.ZipFile(written) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert b"network.py" not in content
    for path in (Path(smash.__file__).parent, Path(torch.__file__).parent, Path.home()):
        assert str(path).encode() not in content


def test_damaged_program_is_refused(written, tmp_path):
    path = tmp_path / "damaged.pt2"
    for content in (b"", written.read_bytes()[:-100]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot be run as \.pt2"):
            load_model(path)


class Undecided(nn.Module):
    def forward(self, images):
        return images if images.sum() > 0 else -images


def test_network_that_torch_cannot_export_is_refused(tmp_path):
    with pytest.raises(InvalidValueError, match=r"Undecided cannot be written as \.pt2"):
        write_program(Undecided(), SIGNATURE, {}, tmp_path / "model.pt2")
