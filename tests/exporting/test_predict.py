from __future__ import annotations

import json
import shutil
import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile

from smash.data.sound_format import SoundFormat
from smash.errors import DataError, InvalidValueError, NotFoundError
from smash.exporting.predict import Model, load_model, predict
from smash.exporting.signature import Signature
from smash.run.child import Child


def model_for(*size, channels=1, scaled=True, classes=("dark", "light")):
    """A model that tells by the mean of the first channel: above one half it is light."""
    signature = Signature(
        classes=classes,
        channels=channels,
        size=size,
        scaled=scaled,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )

    def run(images):
        assert images.shape[1:] == (channels, *size)
        assert images.dtype == torch.float32
        light = images[:, 0].flatten(1).mean(1) * 2 - 1
        return torch.stack([-light, light], 1)

    return Model(signature, run)


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        if name.endswith(".npy"):
            np.save(path, content)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            Image.fromarray(np.asarray(content)).save(path)
        return path

    return write


@pytest.mark.parametrize("name", ["m.onnx", "m.py", "n.safetensors", "the child"])
def test_predict_from_each_format_agrees_with_the_child(exported, finished, digits, tmp_path, name):
    (folder,) = (finished / "children").iterdir()
    images = digits.test.images[:5]
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image[0].numpy()).save(path)
    with torch.no_grad():
        logits = Child.open(folder).model(torch.device("cpu"))(digits.normalise(images))
    wanted = logits.softmax(1).max(1)
    found = predict(folder if name == "the child" else exported / name, paths)
    assert [one.file for one in found] == list(map(str, paths))
    assert [one.likely[0][0] for one in found] == [str(int(i)) for i in wanted.indices]
    assert np.allclose([one.likely[0][1] for one in found], wanted.values, atol=1e-4)


def test_images_are_resized_as_in_training(write):
    """The middle of an image that is twice as wide; grey from colours by luminance."""
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 10:30] = 255  # the middle is light, all together is not
    green, blue = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
    green[:, :, 1] = blue[:, :, 2] = 255
    paths = [write("wide.png", wide), write("green.png", green), write("blue.png", blue)]
    found = predict(model_for(8, 8), paths)
    assert [one.likely[0][0] for one in found] == ["light", "light", "dark"]


def test_predict_orders_classes_by_probability(write):
    (found,) = predict(model_for(4, 4), [write("a.npy", np.full((4, 4), 0.75))], top=5)
    (first, p), (second, q) = found.likely
    assert (first, second) == ("light", "dark")
    assert p + q == pytest.approx(1)
    assert p / q == pytest.approx(np.e)


@pytest.mark.parametrize(
    ("array", "classes"),
    [
        (np.full((1, 4, 4), 200, np.uint8), ["light"]),
        (np.full((4, 4), 200, np.int64), ["light"]),
        (np.full((4, 4), 0.2, np.float64), ["dark"]),
        (np.ones((4, 4), bool), ["light"]),
        (np.stack([np.full((4, 4), level, np.uint8) for level in (0, 255)]), ["dark", "light"]),
        (np.asfortranarray(np.full((70, 1, 4, 4), 0.9)), ["light"] * 70),
    ],
)
def test_predict_reads_arrays_of_one_or_several_examples(write, array, classes):
    found = predict(model_for(4, 4), [write("a.npy", array)])
    assert [one.likely[0][0] for one in found] == classes
    if len(classes) > 1:
        assert found[-1].file.endswith(f"a.npy[{len(classes) - 1}]")


def test_predict_takes_folders_and_archives(write, tmp_path):
    dark, light = np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)
    (tmp_path / "ünï 日本" / "deep").mkdir(parents=True)
    write("ünï 日本/deep/b.npy", light)
    write("ünï 日本/notes.txt", b"")
    archive = tmp_path / "ünï 日本" / "a.npz"
    np.savez(archive, data=np.stack([light, dark]), labels=[1, 0])
    found = predict(model_for(2, 2), [tmp_path / "ünï 日本"])
    assert [(Path(each.file).name, each.likely[0][0]) for each in found] == [
        ("a.npz[0]", "light"), ("a.npz[1]", "dark"), ("b.npy", "light"),
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no images, arrays or recordings: name another"):
        predict(model_for(2, 2), [tmp_path / "empty"])


def test_predict_keeps_the_units_of_signals_and_volumes(write):
    signals = predict(
        model_for(6, channels=2, scaled=False), [write("s.npy", np.full((2, 6), 40.0))]
    )
    volumes = predict(model_for(4, 4, 4), [write("v.npy", np.full((4, 4, 4), 10, np.uint8))])
    assert [one.likely[0][0] for one in (*signals, *volumes)] == ["light", "dark"]


def _bomb():
    """A PNG that claims 60,000 × 60,000 pixels in a few bytes."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    )


class _Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


HOSTILE = {
    "pickle.npy": np.array([_Evil()], dtype=object),
    "text.npy": np.array(["a"]),
    "shape.npy": np.zeros((3, 5)),
    "empty.npy": np.zeros((0, 1, 4, 4)),
    "nan.npy": np.full((4, 4), np.nan),
    "range.npy": np.full((4, 4), 3.0),
    "wide.npy": np.full((4, 4), 300, np.int32),
    "bomb.png": _bomb(),
    "cut.png": _bomb()[:40],
    "no.jpg": b"%!PS-Adobe: run me",
    "raw.npy": b"\x93NUMPY\x01\x00\x10\x00{'descr':[" + b"[" * 90,
    "huge.npy": b"\x93NUMPY\x01\x00\x76\x00"
    + b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 4, 4), }".ljust(117)
    + b"\n",
    "words.txt": b"hello",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_predict_refuses_hostile_files(write, tmp_path, name):
    content = HOSTILE[name]
    if name.endswith(".npy") and isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
        path = tmp_path / name
    elif name == "pickle.npy":
        path = tmp_path / name
        np.save(path, content, allow_pickle=True)
    else:
        path = write(name, content)
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        predict(model_for(4, 4), [path])


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        *[("nan.npy", "omit the example"), ("shape.npy", "with the channels first")],
        *[("text.npy", "write it with numpy"), ("pickle.npy", "without objects")],
        *[("words.txt", "convert it"), ("gone.png", "check its name")],
    ],
)
def test_fault_of_a_file_says_what_to_do(write, tmp_path, name, mend):
    path = tmp_path / name
    if name == "words.txt":
        path.write_bytes(HOSTILE[name])
    elif name != "gone.png":
        np.save(path, HOSTILE[name], allow_pickle=True)
    with pytest.raises(DataError, match=f": .*{mend}"):
        predict(model_for(4, 4), [path])


def test_predict_reports_all_faults_at_once(write, tmp_path):
    paths = [write("nan.npy", HOSTILE["nan.npy"]), tmp_path / "gone.png", write("b.png", _bomb())]
    with pytest.raises(DataError) as caught:
        predict(model_for(4, 4), [write("good.npy", np.zeros((4, 4))), *paths])
    assert len(caught.value.faults) == 3


def test_predict_resamples_and_cuts_recordings_as_in_training(tmp_path):
    sound = SoundFormat(features="raw", sample_rate=8000, samples=800)
    signature = replace(model_for(800, scaled=False).signature, sound=sound)
    model = Model(signature, lambda images: torch.cat([-images, images], 1).mean(2))
    for name, level, rate in (("a.wav", 0.5, 8000), ("b.wav", -0.5, 16000), ("c.wav", 0.4, 44100)):
        wavfile.write(tmp_path / name, rate, np.full(rate, level, dtype=np.float32))
    found = predict(model, [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")])
    assert [each.likely[0][0] for each in found] == ["light", "dark", "light"]


def test_predict_refuses_recordings_for_other_models(tmp_path):
    wavfile.write(tmp_path / "a.wav", 8000, np.zeros(8000, dtype=np.int16))
    with pytest.raises(DataError, match=r"is a recording, and the model takes 1 channel of size"):
        predict(model_for(8, 8), [tmp_path / "a.wav"])


def test_signature_with_recordings_of_another_shape_is_refused():
    sound = SoundFormat(features="raw", sample_rate=8000, samples=800)
    with pytest.raises(DataError, match="recordings become inputs of shape 1x800, not of 1x700"):
        replace(model_for(700).signature, sound=sound)


def test_predict_refuses_images_for_models_of_arrays(write):
    path = write("a.png", np.zeros((8, 8), np.uint8))
    for model in (model_for(8, 8, channels=2), model_for(8), model_for(8, 8, scaled=False)):
        with pytest.raises(DataError, match=r"save examples as \.npy"):
            predict(model, [path])


def test_load_model_refuses_other_files(tmp_path, exported):
    with pytest.raises(NotFoundError):
        load_model(tmp_path / "gone.onnx")
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(InvalidValueError, match=r"\.onnx, \.pte, \.pt2, \.safetensors or \.py"):
        load_model(tmp_path / "model.pt")
    for code in ("CLASSES = 3", "def", "1 / 0", "\0"):
        (tmp_path / "model.py").write_text(code)
        with pytest.raises(DataError, match="cannot be run as a model"):
            load_model(tmp_path / "model.py")
    code = (exported / "m.py").read_text()
    (tmp_path / "model.py").write_text(code)  # its weights stay behind
    with pytest.raises(DataError, match="weights"):
        load_model(tmp_path / "model.py")
    with pytest.raises(InvalidValueError, match="top"):
        predict(model_for(4, 4), ["a"], top=0)
    with pytest.raises(InvalidValueError, match="files"):
        predict(model_for(4, 4), [])


def test_command_prints_a_table_or_json(exported, write, command, monkeypatch):
    path = write("[red]a.npy", np.full((8, 8), 0.5))
    monkeypatch.chdir(path.parent)
    path = Path(path.name)  # short enough for one line of the table
    model = str(exported / "n.safetensors")
    shown = command("predict", model, str(path), "--top", "2")
    assert shown.code == 0
    assert "[red]a.npy" in shown.out
    (row,) = json.loads(command("predict", model, str(path), "--top", "3", "--json").out)
    assert row["file"] == str(path)
    assert len(row["likely"]) == 3
    assert row["likely"][0] == {"class": row["class"], "probability": row["probability"]}
    assert row["class"] in shown.out
    assert f"{row['probability']:.1%}" in shown.out
    missing = command("predict", "gone.onnx", str(path))
    assert missing.code == 2
    assert missing.faults == [
        "smash: model 'gone.onnx' does not exist; create it with 'smash export'",
    ]


def test_retrain_exports_the_child(finished, tmp_path, command, monkeypatch):
    """The last of the three commands from a folder of photographs to a model."""
    run = shutil.copytree(finished, tmp_path / "run")
    to = tmp_path / "model.safetensors"
    asked = ["retrain", str(run), "--rank", "0", "--epochs", "1", "--seed", "1", "--device", "cpu"]
    refused = command(*asked, "--export", "model.pt")
    assert refused.code == 2
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxscript", None)
        patch.setitem(sys.modules, "onnxruntime", None)
        refused = command(*asked, "--export", str(tmp_path / "model.onnx"))
    assert refused.code == 2
    assert "'onnxscript', 'onnxruntime': install them with pip install" in refused.faults[0]
    assert len(list((run / "children").iterdir())) == 1  # nothing was trained for them
    made = command(*asked, "--export", str(to))
    assert made.code == 0
    assert str(to) in made.out
    assert load_model(to).signature.classes == tuple("0123456789")
    again = command(*asked, "--export", str(to))
    assert again.code == 2
    assert "already exists" in again.err
