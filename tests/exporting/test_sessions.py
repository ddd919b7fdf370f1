from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from smash.errors import DataError, MissingExtraError
from smash.exporting import sessions
from smash.exporting.onnx import OnnxNetwork
from smash.exporting.predict import load_model
from smash.exporting.sessions import IsolatedSession, OnnxSession
from smash.spaces.task import Task
from tests.exporting.answers import signature_for

onnx = pytest.importorskip("onnx")
FLOAT, INT64, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
helper = onnx.helper


def model_of(nodes, initializers=(), *, classes=3):
    """A model that maps `images`, N×1×3, to `logits`, and says so."""
    ends = [
        helper.make_tensor_value_info("images", FLOAT, ["N", 1, 3]),
        helper.make_tensor_value_info("logits", FLOAT, ["N", classes]),
    ]
    graph = helper.make_graph(nodes, "other", ends[:1], ends[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    signature = signature_for(Task(channels=1, size=(3,), classes=classes))
    helper.set_model_props(model, {"smash.signature": signature.to_json()})
    return model


def flatten():
    return model_of([helper.make_node("Flatten", ["images"], ["logits"])])


def endless():
    """A loop whose condition stays true, and which runs 2**62 times."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["again"]),
            helper.make_node("Sin", ["state"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", INT64, []),
            helper.make_tensor_value_info("more", BOOL, []),
            helper.make_tensor_value_info("state", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("again", BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, None),
        ],
    )
    numbers = [
        helper.make_tensor("times", INT64, [], [2**62]),
        helper.make_tensor("true", BOOL, [], [True]),
    ]
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Loop", ["times", "true", "flat"], ["logits"], body=body),
    ]
    return model_of(nodes, numbers)


def external(place):
    """A model with weights in a file that exists, as an initializer or as an attribute."""
    tensor = helper.make_tensor("w", FLOAT, [3], [1.0, 2.0, 3.0])
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "secret.bin"
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Add", ["flat", "w"], ["logits"]),
    ]
    if place == "initializer":
        return model_of(nodes, [tensor])
    constant = helper.make_node("Constant", [], ["w"])
    attribute = constant.attribute.add()
    attribute.name, attribute.type = "value", onnx.AttributeProto.TENSOR
    attribute.t.CopyFrom(tensor)
    return model_of([constant, *nodes])


def test_isolated_session_computes_what_a_session_computes():
    content = flatten().SerializeToString()
    images = np.arange(12, dtype=np.float32).reshape(4, 1, 3)
    here, apart = OnnxSession(content, 1), IsolatedSession(content, 1)
    assert here.metadata == apart.metadata
    assert (here.inputs, here.outputs) == (apart.inputs, apart.outputs)
    for part in (images, images[:1]):
        assert np.array_equal(apart.run(part), part[:, 0])
        assert np.array_equal(here.run(part), part[:, 0])


def test_predicting_with_an_endless_loop_ends_with_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "SECONDS", 4.0)
    path = tmp_path / "model.onnx"
    path.write_bytes(endless().SerializeToString())
    start = time.monotonic()
    model = load_model(path)
    with pytest.raises(DataError, match=r"model\.onnx cannot be run on 1x1x3 \(it took longer"):
        model.run(torch.zeros(1, 1, 3))
    assert time.monotonic() - start < 60


def test_isolated_session_ends_without_the_process_that_began_it(tmp_path):
    """A killed parent leaves no process behind that runs for ever."""
    path = tmp_path / "model.onnx"
    path.write_bytes(endless().SerializeToString())
    code = (
        "import os, signal, sys\n"
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from smash.exporting import sessions\n"
        "sessions.SECONDS = 5.0\n"
        "session = sessions.IsolatedSession(Path(sys.argv[1]).read_bytes(), 1)\n"
        "header = {'seconds': 2.0, 'shape': [1, 1, 3]}\n"
        "sessions._send(session._requests, header, bytes(12))\n"
        "print(session._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    pid = int(done.stdout)
    for _ in range(200):
        if not _runs(pid):
            return
        time.sleep(0.1)
    pytest.fail(f"process {pid} still runs")


def _runs(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("place", ["initializer", "attribute"])
@pytest.mark.parametrize("isolated", [False, True])
def test_weights_in_another_file_are_refused(tmp_path, monkeypatch, place, isolated):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(np.ones(3, np.float32).tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(external(place).SerializeToString())
    with pytest.raises(DataError, match="its weights are in another file"):
        OnnxNetwork(path, isolated=isolated)


def test_isolated_session_bounds_what_a_graph_gives(monkeypatch):
    shape = helper.make_tensor("shape", INT64, [2], [1, 2**25])
    zero = helper.make_node("ConstantOfShape", ["shape"], ["logits"])
    session = IsolatedSession(model_of([zero], [shape]).SerializeToString(), 1)
    with pytest.raises(RuntimeError, match=r"gives 33,554,432 values at once"):
        session.run(np.zeros((1, 1, 3), np.float32))


def test_isolated_session_that_crashes_is_an_error():
    session = IsolatedSession(flatten().SerializeToString(), 1)
    session._process.kill()
    session._process.wait()
    with pytest.raises(RuntimeError, match="ended with code -9"):
        session.run(np.zeros((1, 1, 3), np.float32))


def test_isolated_session_names_a_missing_package(monkeypatch, tmp_path):
    folder = tmp_path / "first"
    folder.mkdir()
    (folder / "onnxruntime.py").write_text("raise ImportError(name='onnxruntime')")
    monkeypatch.syspath_prepend(str(folder))
    path = tmp_path / "model.onnx"
    path.write_bytes(flatten().SerializeToString())
    with pytest.raises(MissingExtraError, match=r"'onnxruntime': install them with pip"):
        OnnxNetwork(path, isolated=True)
