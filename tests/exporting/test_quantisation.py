from __future__ import annotations

import io
import json
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import smash
from smash.cli.tables import print_quantisation
from smash.errors import ParityError
from smash.exporting.evaluation import as_exported
from smash.exporting.onnx import OnnxNetwork, write_onnx
from smash.exporting.predict import load_model
from smash.exporting.quantisation import (
    Quantisation,
    calibration_images,
    compare,
    quantise,
    with_convolutions,
)
from smash.exporting.signature import Signature
from smash.run.child import Child
from smash.spaces.task import Task
from tests.exporting.answers import assert_same, filled, images_for, signature_for

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def int8(finished, tmp_path_factory):
    """The child of `finished` in int8, by the command."""
    from tests.answers import call

    (child,) = (finished / "children").iterdir()
    path = tmp_path_factory.mktemp("int8") / "m.int8.onnx"
    with redirect_stdout(io.StringIO()) as shown:
        assert call("export", str(child), "--to", str(path), "--max-loss", "50%") == 0
    assert "in int8" in shown.getvalue()
    return path


def test_int8_holds_no_float_weight_and_no_float_operation(int8):
    model = onnx.load(int8)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["Conv"] > 10
    assert kinds["BatchNormalization"] == kinds["Sub"] == kinds["Div"] == 0
    values = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    made = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            sources = [made[name] for name in node.input]
            assert {each.op_type for each in sources} == {"DequantizeLinear"}
            weight, *biases = (values[each.input[0]] for each in sources[1:])
            assert weight.dtype == np.int8
            assert all(bias.dtype == np.int32 for bias in biases)
            assert len(values[sources[1].input[1]]) == len(weight)  # A scale per output channel.
    assert {prop.key for prop in model.metadata_props} == {"smash.signature", "smash.description"}


def test_int8_agrees_with_float32_on_most_examples(int8, exported, digits):
    """Computed here by the labels that both give, not by the package's own comparison."""
    images = digits.test.images / 255
    before, after = (OnnxNetwork(path)(images).argmax(1) for path in (exported / "m.onnx", int8))
    assert (before == after).float().mean() >= 0.97
    assert load_model(int8).signature.classes == tuple("0123456789")


def test_command_prints_the_cost_of_int8(finished, tmp_path, command, int8):
    (child,) = (finished / "children").iterdir()
    to = tmp_path / "n.int8.onnx"
    found = json.loads(command("export", str(child), "--to", str(to), "--json").out)
    assert found["files"] == [str(to)]
    assert to.read_bytes() == int8.read_bytes()  # The same calibration gives the same file.
    assert found["examples"] == 256
    assert set(found["errors"]) == set(Child.open(child).result) - {"train"}
    val = Child.open(child).run.data.val
    logits = OnnxNetwork(int8)(val.images / 255)
    wrong = logits.numpy().argmax(1) != val.labels.numpy()  # of ties the first
    assert found["errors"]["val"][1] == pytest.approx(wrong.mean())
    evaluated = json.loads(command("evaluate", str(child), "--model", str(to), "--json").out)
    assert evaluated["error"] == pytest.approx(found["errors"]["val"][1])
    assert found["epochs"] == 0
    for wrong in ("x", "-1%", "101%", "nan", "1"):
        refused = command("export", str(child), "--to", str(to), "--force", "--max-loss", wrong)
        assert refused.code == 2
        assert "must be a share such as 1%" in refused.faults[0]
    refused = command("export", str(child), "--to", str(tmp_path / "a.onnx"), "--max-loss", "1%")
    assert "max_loss is for int8" in refused.faults[0]
    options = ("--quantise-epochs", "1", "--opset", "20")
    refused = command("export", str(child), "--to", str(tmp_path / "a.pt2"), *options)
    assert refused.code == 2
    assert [fault.split(",")[0] for fault in refused.faults] == [
        "smash: quantise_epochs is for int8", "smash: opset is for ONNX"
    ]  # fmt: skip
    assert [file.name for file in tmp_path.iterdir()] == ["n.int8.onnx"]


def test_fine_tuned_int8_is_nearer_to_the_child(finished, tmp_path, command, int8):
    """Distance is the mean cross-entropy to the child's probabilities, on validation examples."""
    (folder,) = (finished / "children").iterdir()
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    to = tmp_path / "tuned.int8.onnx"
    answer = command(
        "export", str(folder), "--to", str(to), "--quantise-epochs", "1", "--opset", "21", "--json"
    )
    found = json.loads(answer.out)
    assert (found["epochs"], found["opset"]) == (1, 21)
    child = Child.open(folder)
    data = child.run.data
    expected = child.model(torch.device("cpu"))(data.normalise(data.val.images)).detach()
    distances = [
        nn.functional.cross_entropy(OnnxNetwork(path)(data.val.images / 255), expected.softmax(1))
        for path in (to, int8)
    ]
    assert distances[0] < distances[1]
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()} == before
    assert [file.name for file in tmp_path.iterdir()] == ["tuned.int8.onnx"]


def test_loss_above_the_limit_is_refused():
    quantisation = Quantisation({"val": (0.03, 0.055)}, (2, 1), (2.0, 1.0), 256)
    quantisation.check(None)
    quantisation.check(0.025)
    with pytest.raises(ParityError, match=r"from 3\.00% to 5\.50%, by more than max-loss 2\.00%"):
        quantisation.check(0.02)


@pytest.mark.parametrize(("epochs", "advised"), [(0, 5), (5, 10)])
def test_a_large_loss_advises_more_fine_tuning_than_there_was(capsys, epochs, advised):
    print_quantisation(Quantisation({"val": (0.03, 0.055)}, (2, 1), (2.0, 1.0), 256, epochs))
    assert f"--quantise-epochs {advised}," in capsys.readouterr().err


def test_calibration_reads_the_training_split_alone(digits):
    unreadable = replace(digits.val, stored=torch.full_like(digits.val.stored, 255))
    images = calibration_images(replace(digits, val=unreadable, test=unreadable))
    assert images.shape == (256, 1, 8, 8)
    assert torch.equal(images, calibration_images(digits))
    rows = {row.numpy().tobytes() for row in as_exported(digits).normalise(digits.train.images)}
    assert all(image.numpy().tobytes() in rows for image in images)
    assert images.max() <= 1


@pytest.mark.parametrize("with_input", [True, False])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_graph_with_convolutions_computes_the_same(tmp_path, dims, with_input):
    kinds = {1: (nn.Conv1d, nn.BatchNorm1d), 2: (nn.Conv2d, nn.BatchNorm2d)}
    convolution, norm = kinds.get(dims, (nn.Conv3d, nn.BatchNorm3d))
    layers = [norm(2, eps=1e-2), nn.ReLU(), convolution(2, 4, 3), norm(4), nn.ReLU(), nn.Flatten()]
    child = filled(nn.Sequential(*layers, nn.Linear(4 * 2**dims, 3)))
    signature = signature_for(Task(channels=2, size=(4,) * dims, classes=3))
    write_onnx(child, signature, {}, tmp_path / "float.onnx")
    model = onnx.load(tmp_path / "float.onnx")
    assert any(node.op_type == "BatchNormalization" for node in model.graph.node)
    changed = with_convolutions(model, with_input=with_input)
    kinds = {node.op_type for node in changed.graph.node}
    assert kinds & {"BatchNormalization", "Sub", "Div"} == (set() if with_input else {"Sub", "Div"})
    onnx.save(changed, tmp_path / "changed.onnx")
    images = images_for(signature, 5)
    before, after = (OnnxNetwork(tmp_path / f"{name}.onnx") for name in ("float", "changed"))
    assert_same(after(images), before(images))


def test_channels_in_units_of_their_own_keep_their_levels(tmp_path):
    """A pressure in pascals, and a channel of ones and minus ones that alone tells the classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    pressure = 101_325 + 300 * rng.normal(size=(400, 16))
    signs = np.where(labels == 1, 1.0, -1.0)[:, None] * np.ones(16)
    arrays = np.stack([pressure, signs], axis=1).astype(np.float32)
    data = smash.load_data((arrays, labels), dims=1, channels="first")
    child = nn.Sequential(nn.Conv1d(2, 2, 1, bias=False), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    child[0].weight.data = torch.tensor([[[0.0], [-1.0]], [[0.0], [1.0]]])
    signature = Signature(
        classes=data.classes, channels=2, size=(16,), scaled=False, mean=data.mean, std=data.std
    )
    write_onnx(child.eval(), signature, {}, tmp_path / "float.onnx")
    quantise(tmp_path / "float.onnx", data, tmp_path / "int8.onnx")
    found = compare(tmp_path / "float.onnx", tmp_path / "int8.onnx", data, ("val",))
    assert found.errors["val"] == (0.0, 0.0)
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node)
    assert kinds["Sub"] == kinds["Div"] == 1
    assert kinds["QuantizeLinear"] > 1


def test_quantise_reports_what_a_network_loses(tmp_path, digits):
    """A channel of huge range takes all levels of int8, and nothing is left for the others."""
    child = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).eval()
    pixels = (digits.train.images.float() / 255).flatten(1)
    targets = torch.eye(10)[digits.train.labels]
    # Not torch's: that of 2.9 is wrong at random where pixels are the same in all images.
    solution = torch.from_numpy(np.linalg.lstsq(pixels.numpy(), targets.numpy())[0])
    with torch.no_grad():
        child[1].weight.copy_(torch.eye(64))
        child[1].bias.zero_()
        child[1].weight[0] = 1e4  # Of a pixel in the corner, and all others.
        child[3].weight.copy_(solution.T)
        child[3].weight[:, 0] = 0
        child[3].bias.zero_()
    signature = replace(signature_for(digits.task), classes=digits.classes, mean=(0.0,), std=(1.0,))
    write_onnx(child, signature, {}, tmp_path / "float.onnx")
    quantise(tmp_path / "float.onnx", digits, tmp_path / "int8.onnx")
    found = compare(tmp_path / "float.onnx", tmp_path / "int8.onnx", digits, ("val",))
    assert found.errors["val"][0] < 0.2
    assert found.loss > 0.3
    assert found.bytes[1] == (tmp_path / "int8.onnx").stat().st_size
    assert min(found.seconds) > 0
