from __future__ import annotations

import json
import sys

import pytest
import torch
from torch import nn

from smash.errors import DataError, InvalidValueError, MissingExtraError
from smash.exporting.onnx import OPSETS, OnnxNetwork, check_opset, version_of, write_onnx
from smash.spaces import MemoryBankSpace, NasBench201Space, Task
from smash.spaces.nas_bench_201 import NasBench201Options
from tests.exporting.answers import (
    assert_same,
    expected,
    filled,
    images_for,
    signature_for,
)
from tests.spaces.cases import OPTIONS, rng_of, task_of
from tests.spaces.chain import ChainSpace

onnx = pytest.importorskip("onnx")


class _Several(nn.Module):
    """Several children as one network: torch takes seconds for each graph, however small."""

    def __init__(self, children):
        super().__init__()
        self.parts = nn.ModuleList(children)

    def forward(self, images):
        return torch.cat([part(images) for part in self.parts], dim=1)


def _build_children(dims):
    names = {
        1: ["gates-signal"],
        2: ["gates-bare-op-norm", "op-norm-post"],
        3: ["voxels"],
    }
    for seed, name in enumerate(names[dims]):
        space = MemoryBankSpace(OPTIONS[name].replaced(depth=1, stem_stride=2 - seed % 2))
        yield space.build(space.sample(rng_of(seed)), task_of(space.options), "cpu")
    cells = NasBench201Space(NasBench201Options(channels=2, cells=1))
    task = Task(channels=2, size=(8,) * dims, classes=3)
    yield cells.build(cells.sample(rng_of(dims)), task, "cpu")
    if dims == 2:
        yield ChainSpace(1).build(ChainSpace(1).sample(rng_of(0)), task, "cpu")


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_onnx_of_each_space_agrees_with_the_child(dims, tmp_path):
    child = filled(_Several(_build_children(dims)))
    task = Task(channels=2, size=(8,) * dims, classes=3 * len(child.parts))
    signature = signature_for(task)
    write_onnx(child, signature, {"id": "é"}, tmp_path / "model.onnx")
    network = OnnxNetwork(tmp_path / "model.onnx")
    assert network.signature == signature
    for count in (1, 2, 7):
        images = images_for(signature, count)
        found, wanted = network(images), expected(child, signature, images)
        for part in range(0, task.classes, 3):
            assert_same(found[:, part : part + 3], wanted[:, part : part + 3])
    model = onnx.load(tmp_path / "model.onnx")
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(said["smash.description"]) == {"id": "é"}
    assert json.loads(said["smash.signature"])["classes"] == list(signature.classes)
    weights = sum(tensor.numel() * 4 for tensor in child.state_dict().values())
    nodes = len(model.graph.node)
    assert (tmp_path / "model.onnx").stat().st_size <= weights + 8192 + 256 * nodes
    (given,) = model.graph.input
    shape = [axis.dim_value or axis.dim_param for axis in given.type.tensor_type.shape.dim]
    assert shape == ["examples", 2, *(8,) * dims]


def test_network_that_torch_cannot_write_is_refused(tmp_path):
    class Deciding(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :3] * (2 if images.sum() > 0 else 1)

    signature = signature_for(Task(channels=1, size=(4, 4), classes=3))
    with pytest.raises(InvalidValueError, match=r"Deciding cannot be written as ONNX"):
        write_onnx(Deciding(), signature, {}, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_onnx_of_other_origin_is_refused(tmp_path, capfd):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08" * 1000)
    with pytest.raises(DataError, match="cannot be run as ONNX"):
        OnnxNetwork(path)
    node = onnx.helper.make_node("Identity", ["images"], ["logits"])
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 3])
        for name in ("images", "logits")
    ]
    graph = onnx.helper.make_graph([node], "other", ends[:1], ends[1:])
    opset = onnx.helper.make_opsetid("", 20)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    onnx.save(model, path)
    with pytest.raises(DataError, match="does not name its classes"):
        OnnxNetwork(path)
    onnx.helper.set_model_props(model, {"smash.signature": "{}"})
    onnx.save(model, path)
    with pytest.raises(DataError, match=r"model\.onnx: classes"):
        OnnxNetwork(path)
    path.write_bytes(path.read_bytes().replace(b"smash.signature", b"smash.s\xffgnature"))
    with pytest.raises(DataError, match="cannot be run as ONNX"):
        OnnxNetwork(path)
    assert capfd.readouterr() == ("", "")  # only our own line is told


def _foreign(path, signature, given=("images", ["N", 1, 4]), gives=("logits", ["N", 4]), axis=1):
    """A graph of other hands that sums over an axis, with a signature that is right in itself."""
    node = onnx.helper.make_node("ReduceSum", [given[0], "axes"], [gives[0]], keepdims=0)
    axes = onnx.helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [axis])
    ends = [
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)]
        for name, shape in (given, gives)
    ]
    graph = onnx.helper.make_graph([node], "other", *ends, [axes])
    opset = onnx.helper.make_opsetid("", 20)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    onnx.helper.set_model_props(model, {"smash.signature": signature.to_json()})
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"given": ("x", ["N", 1, 4])}, r"must take 'images', .* of Nx1x4 .* has 'x', .* Nx1x4:"),
        ({"given": ("images", ["N", 1, 5]), "gives": ("logits", ["N", 5])}, "has .* Nx1x5:"),
        ({"given": ("images", ["N", 1, 4, 4]), "gives": ("logits", ["N", 4, 4])}, "Nx1x4x4:"),
        ({"given": ("images", [2, 1, 4]), "gives": ("logits", [2, 4])}, "has .* of 2x1x4:"),
        ({"gives": ("scores", ["N", 4])}, "must give 'logits', .* has 'scores'"),
    ],
)
def test_graph_that_does_not_fit_its_signature_is_refused(tmp_path, wrong, words):
    path = tmp_path / "model.onnx"
    signature = signature_for(Task(channels=1, size=(4,), classes=4))
    _foreign(path, signature)
    assert OnnxNetwork(path)(torch.ones(3, 1, 4)).tolist() == [[1.0] * 4] * 3
    _foreign(path, signature, **wrong)
    with pytest.raises(DataError, match=words):
        OnnxNetwork(path)


def test_graph_that_fails_or_gives_no_logits_is_refused(tmp_path):
    """Extents that the graph leaves open are checked when it runs."""
    path, images = tmp_path / "model.onnx", torch.ones(3, 1, 4)
    signature = signature_for(Task(channels=1, size=(4,), classes=4))
    _foreign(path, signature, ("images", ["N", "c", "w"]), ("logits", ["N", "w"]), axis=2)
    with pytest.raises(DataError, match=r"must give logits of shape 3x4, got 3x1: export it again"):
        OnnxNetwork(path)(images)
    with pytest.raises(DataError, match=r"cannot be run on 3x4 .*: export it again"):
        OnnxNetwork(path)(images[:, 0])


def test_missing_package_is_named(monkeypatch, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"smash-nas\[onnx\]"):
        OnnxNetwork(tmp_path / "model.onnx")


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
def test_chosen_opset_is_that_of_the_file(opset, tmp_path):
    layers = [nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)]
    child = filled(nn.Sequential(*layers))
    signature = signature_for(Task(channels=2, size=(4,), classes=3))
    path = tmp_path / "model.onnx"
    write_onnx(child, signature, {}, path, opset)
    version = version_of(path)
    assert version.opset == opset
    assert version.ir == onnx.load(path).ir_version
    images = images_for(signature, 3)
    assert_same(OnnxNetwork(path)(images), expected(child, signature, images))


def test_opset_that_cannot_be_written_is_refused():
    for wrong in (OPSETS[0] - 1, OPSETS[-1] + 1):
        with pytest.raises(InvalidValueError, match=f"opset must be 18 to 25, got {wrong}"):
            check_opset(wrong)
