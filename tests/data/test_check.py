import json
import shutil

import numpy as np
import pytest
from PIL import Image

from smash.data import check_data, load_data
from smash.errors import InvalidValueError, NotFoundError

RNG = np.random.default_rng(0)
SOUND = {"train/a": 20, "train/b": 20, "test/a": 3, "test/b": 3}


def test_check_data_of_a_sound_folder_reports_its_counts(make_folder):
    root = make_folder(SOUND)
    Image.new("L", (9, 10), 3).save(root / "train" / "a" / "grey.png")
    report = check_data(root)
    assert report.ok
    assert report.source == str(root)
    assert report.splits == {
        "train": {"a": 19, "b": 18},
        "val": {"a": 2, "b": 2},
        "test": {"a": 3, "b": 3},
    }
    assert report.sizes == {"8x8": 46, "9x10": 1}
    assert report.modes == {"RGB": 46, "L": 1}
    assert report.imbalance == 19 / 18
    assert report.faults == ()
    assert report.warnings == (
        "class 'a' has 19 training examples, fewer than 20: add some",
        "class 'b' has 18 training examples, fewer than 20: add some",
    )
    assert [line for line in report.lines() if not line.startswith("warning")] == [
        "train: 37 examples of 2 classes (a 19, b 18)",
        "val: 4 examples of 2 classes (a 2, b 2)",
        "test: 6 examples of 2 classes (a 3, b 3)",
        "sizes: 8x8 (46), 9x10 (1)",
        "modes: RGB (46), L (1)",
        "learned from: size 8x8, 3 channels",
        "learned from: a first layer of stride 1x1, unless --stem-stride says otherwise",
        "learned from: random shifts by up to 1 and mirroring in training",
        "imbalance: 1.06",
        "note: images resized to 8x8 (2 different sizes found)",
        "note: no validation split found: 10% of the training examples set apart, stratified "
        "(4 examples)",
    ]


def test_check_data_of_a_wrong_folder_reports_all_faults(make_folder):
    root = make_folder({**SOUND, "train/c": 3, "docs": 0})
    (root / "train" / "a" / "bad.png").write_text("no image")
    (root / "train" / "a" / "notes.txt").write_text("")
    (root / "test" / "b" / "worse.jpg").write_bytes(b"")
    shutil.copy(root / "train" / "a" / "000.png", root / "train" / "a" / "copy.png")
    shutil.copy(root / "train" / "a" / "001.png", root / "test" / "a" / "copy.png")
    shutil.copy(root / "train" / "a" / "002.png", root / "train" / "b" / "copy.png")
    report = check_data(root)
    assert not report.ok
    missing, bad, worse = report.faults
    assert "class 'c' has no example in the test split" in missing
    assert bad.startswith(f"{root / 'train' / 'a' / 'bad.png'} cannot be used (")
    assert worse.startswith(f"{root / 'test' / 'b' / 'worse.jpg'} cannot be used (")
    assert report.warnings == (
        "class 'c' has 3 training examples, fewer than 20: add some",
        "the same example is of classes 'a' and 'b': "
        f"{root / 'train' / 'a' / '002.png'} and {root / 'train' / 'b' / 'copy.png'}; "
        "keep the right one",
        "the same example is in splits train and test: "
        f"{root / 'train' / 'a' / '001.png'} and {root / 'test' / 'a' / 'copy.png'}; "
        "remove it from all but one",
        "the same example is 2 times in split train: "
        f"{root / 'train' / 'a' / '000.png'} and {root / 'train' / 'a' / 'copy.png'}",
        f"{root / 'train' / 'a' / 'notes.txt'} ignored: no images",
    )
    assert [line.split(":")[0] for line in report.lines()[-3:]] == ["fault"] * 3


def test_check_data_with_equal_pixels_warns(make_folder):
    root = make_folder(SOUND)
    image = Image.open(root / "train" / "a" / "000.png")
    image.save(root / "train" / "a" / "other.bmp")
    turned = Image.Exif()
    turned[0x112] = 3
    image.transpose(Image.Transpose.ROTATE_180).save(
        root / "train" / "a" / "turned.png", exif=turned
    )
    flat = Image.fromarray(np.asarray(image).reshape(4, 16, 3))  # the same bytes, another image
    flat.save(root / "train" / "a" / "flat.png")
    (line,) = (line for line in check_data(root).warnings if "the same example" in line)
    assert "000.png, " in line
    assert "other.bmp" in line
    assert "turned.png" in line
    assert "flat.png" not in line


def test_check_data_of_unequal_classes_warns(make_folder):
    report = check_data(make_folder({"many": 45, "few": 4}))
    assert report.imbalance == 34 / 2
    assert report.warnings == (
        "class 'few' has 2 training examples, fewer than 20: add some",
        "class 'many' has 17 times the training examples of 'few': see --class-weights",
    )


def test_check_data_with_an_empty_class_writes_null_imbalance(make_folder):
    report = check_data(make_folder({"a": 20, "b": 0}))
    assert "class 'b' must have at least 3" in report.faults[0]
    content = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert content["imbalance"] is None
    assert content["ok"] is False
    assert content["splits"]["train"] == {"a": 20, "b": 0}


def test_check_data_of_another_folder_is_a_fault(make_folder):
    report = check_data(make_folder({"": 0}))
    assert "must have a folder of images or recordings for each class" in report.faults[0]
    assert report.lines() == [f"fault: {report.faults[0]}"]


def test_check_data_of_many_faults_keeps_its_report_short(make_folder):
    root = make_folder(SOUND)
    for i in range(14):
        (root / "train" / "a" / f"bad{i}.png").write_text("no image")
    report = check_data(root)
    (fault,) = report.faults
    assert fault.startswith("14 files cannot be used (cannot identify image file 'the file')")


@pytest.mark.parametrize("as_file", [False, True])
def test_check_data_of_arrays_counts_their_splits(tmp_path, as_file):
    images = RNG.integers(0, 256, (100, 8, 8), dtype=np.uint8)
    labels = np.arange(100) % 2
    data = load_data((images, labels))
    images[:] = np.where(
        (images == data.test.images[0, 0].numpy()).all((1, 2), keepdims=True),
        images[(images == data.train.images[0, 0].numpy()).all((1, 2))],
        images,
    )  # the first of test is now that of train
    source = (images, labels)
    if as_file:
        np.savez(tmp_path / "data.npz", data=images, labels=labels)
        source = tmp_path / "data.npz"
    report = check_data(source)
    assert report.splits["test"] == {"0": 8, "1": 8}
    assert report.modes == {"uint8, 1 channels": 100}
    assert report.sizes == {"8x8": 100}
    (line,) = report.warnings
    assert "example 0 of the train split and example 0 of the test split" in line


def test_check_data_of_wrong_arrays_reports_their_faults():
    report = check_data((np.full((20, 8), np.nan), np.arange(20) % 2 - 1))
    assert not report.ok
    assert [fault.split()[0] for fault in report.faults] == ["data", "labels"]
    assert report.splits == {}


def test_check_data_with_wrong_options_raises():
    with pytest.raises(NotFoundError):
        check_data("no/where")
    with pytest.raises(InvalidValueError, match="val_fraction"):
        check_data("digits", val_fraction=2)
