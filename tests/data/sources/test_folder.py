import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image, features
from pillow_heif import register_heif_opener

from smash.config import LoadSettings
from smash.data import Augmentation, check_data, load_data
from smash.data.sources.folder import read_folder
from smash.data.sources.images import read_image
from smash.errors import DataError, MissingExtraError

FULL = {f"{s}/{c}": n for s, n in (("train", 3), ("val", 1), ("test", 2)) for c in ("cat", "dog")}


def deep_images(folder, highest):
    """Images of 16 bits in two classes, each of one grey, evenly up to the highest value."""
    for number in range(24):
        value = round(highest * (number + 1) / 24)
        path = folder / "deep" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), value, dtype=np.uint16)).save(path)
    return folder / "deep"


def test_load_data_of_class_folders_cuts_three_splits(make_folder):
    data = load_data(make_folder({"dog": 20, "cat": 40}))
    assert data.classes == ("cat", "dog")
    assert torch.bincount(data.test.labels).tolist() == [6, 3]
    assert torch.bincount(data.val.labels).tolist() == [3, 2]
    assert torch.bincount(data.train.labels).tolist() == [31, 15]
    assert data.train.images.shape == (46, 3, 8, 8)
    test, val = data.notes
    assert test == "no test split found: 15% of the examples set apart, stratified (9 examples)"
    assert val.startswith("no validation split found: 10% of the training examples set apart")


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_load_data_of_split_folders_takes_them(make_folder, val):
    root = make_folder({name.replace("val/", f"{val}/"): count for name, count in FULL.items()})
    data = load_data(root)
    assert [len(split) for split in (data.train, data.val, data.test)] == [6, 2, 4]
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    first = Image.open(root / "test" / "dog" / "000.png")
    assert data.test.images[2].permute(1, 2, 0).numpy().tobytes() == first.tobytes()
    assert data.notes == ()


def test_load_data_without_a_split_cuts_it_from_train(make_folder):
    data = load_data(make_folder({"train/a": 20, "train/b": 20, "test/a": 1, "test/b": 1}))
    assert [len(split) for split in (data.train, data.val, data.test)] == [36, 4, 2]


def test_load_data_with_other_entries_ignores_them(make_folder):
    root = make_folder({**FULL, ".cache/x": 1, "docs": 0, "train/cat/deeper": 1, "train/.x": 1})
    (root / "train" / "cat" / "notes.txt").write_text("")
    (root / "train" / "cat" / ".hidden.png").write_text("")
    (root / "readme.md").write_text("")
    (root / "train" / "dog" / "000.png").rename(root / "train" / "dog" / "000.PNG")
    source = read_folder(root, LoadSettings())
    assert source.classes == ("cat", "dog")
    assert len(source.splits["train"]) == 6
    assert source.notes == (
        "folders beside the splits ignored: docs",
        f"1 images are not used, because they are in folders inside class folders, such as "
        f"{root / 'train' / 'cat' / 'deeper'}: take them with --groups folders, or move them up",
        "1 entries of class folders ignored, such as notes.txt: they are no images",
    )


def test_load_data_of_grey_images_has_one_channel(make_folder):
    data = load_data(make_folder({"a": 3, "b": 3}, colour=False))
    assert data.task.channels == 1


@pytest.mark.parametrize(
    ("highest", "white"), [(4095, 4095), (3000, 4095), (1023, 1023), (200, 255), (65535, 65535)]
)
def test_load_data_of_16_bits_has_one_scale_for_all(tmp_path, highest, white):
    folder = deep_images(tmp_path, highest)
    data = load_data(folder)
    assert data.white == white
    assert f"are divided by {white:,}, one scale for the whole data set" in " ".join(data.notes)
    found = torch.cat([split.images for split in data.splits.values()]).flatten(1).max(1).values
    expected = np.linspace(highest / 24, highest, 24) * 255 / white
    assert sorted(found.tolist()) == pytest.approx(expected.tolist(), abs=0.51 + 255 / white)
    assert load_data(folder).white == white  # from the cache
    assert not [line for line in check_data(folder).warnings if "the same example" in line]


def test_load_data_of_8_bits_beside_16_keeps_its_values(tmp_path):
    folder = deep_images(tmp_path, 4095)
    for path in list(folder.rglob("*.png"))[::2]:
        Image.new("L", (8, 8), 77).save(path)
    found = torch.cat([split.images for split in load_data(folder).splits.values()])
    assert (found == 77).flatten(1).all(1).sum() == 12


@pytest.mark.parametrize("highest", [1023, 4095])
def test_predict_scales_16_bits_as_the_training_data(tmp_path, highest):
    folder = deep_images(tmp_path, highest)
    data = load_data(folder)
    trained = torch.cat([split.images for split in data.splits.values()])
    read = [read_image(path, 1, (8, 8), data.white) for path in folder.rglob("*.png")]
    assert sorted(image.sum() for image in trained) == sorted(image.sum() for image in read)


@pytest.mark.parametrize("suffix", [".gif", ".tiff", ".webp"])
def test_load_data_of_several_frames_takes_the_first_and_says_so(make_folder, suffix):
    root = make_folder({"a": 3, "b": 3}, colour=False)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black", "red")]
    frames[0].save(root / "a" / f"moving{suffix}", save_all=True, append_images=frames[1:])
    data = load_data(root)
    assert "1 images have several frames, and the first one counts" in data.notes
    found = torch.cat([split.images for split in data.splits.values()]).flatten(1).min(1).values
    assert (found >= 250).sum() == 1


def test_load_data_of_avif_is_read_or_says_what_it_needs(make_folder):
    root = make_folder({"a": 3, "b": 3})
    if features.check("avif"):
        Image.new("RGB", (8, 8), "white").save(root / "a" / "x.avif")
        assert sum(map(len, load_data(root).splits.values())) == 7
    else:
        (root / "a" / "x.avif").write_bytes(b"")
        with pytest.raises(MissingExtraError, match="upgrade pillow"):
            load_data(root)


def test_load_data_of_heif_without_its_package_says_what_to_install(make_folder, monkeypatch):
    root = make_folder({"a": 3, "b": 3})
    (root / "a" / "x.heic").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r"smash-nas\[heif\]"):
        load_data(root)


def test_load_data_of_heif_is_read(make_folder):
    root = make_folder({"a": 3, "b": 3})
    register_heif_opener()
    Image.new("RGB", (8, 8), "white").save(root / "a" / "x.heic")
    assert sum(map(len, load_data(root).splits.values())) == 7


def test_load_data_with_image_size_resizes(make_folder):
    data = load_data(make_folder({"a": 3, "b": 3}, size=(12, 10)), image_size=5)
    assert data.task.size == (5, 5)
    assert "images resized to 5x5 (all were 12x10)" in data.notes


def test_load_data_of_oblong_images_keeps_their_size(make_folder):
    assert load_data(make_folder({"a": 3, "b": 3}, size=(12, 10))).task.size == (10, 12)


@pytest.mark.parametrize(
    ("side", "augment", "expected"),
    [
        (40, None, Augmentation(4, True)),
        (32, True, Augmentation(4, True)),
        (31, None, Augmentation(3, True)),
        (8, None, Augmentation(1, True)),
        (7, None, Augmentation(0, True)),
        (32, False, Augmentation(0, False)),
    ],
)
def test_load_data_with_augment_shifts_by_size(make_folder, side, augment, expected):
    root = make_folder({"a": 3, "b": 3}, size=(side, side))
    assert load_data(root, augment=augment).augmentation == expected


FAULTS = {
    "empty folder": (
        {"": 0},
        [r"photos must have a folder of images or recordings for each class"],
    ),
    "empty train": (
        {"train": 0, "test/a": 1, "test/b": 1},
        [r"photos.train must have a folder of images or recordings for each class"],
    ),
    "one class": ({"cat": 4}, [r"classes must be at least 2, found 1 \('cat'\)"]),
    "no images": ({"a": 3, "b": 0}, [r"class 'b' must have at least 3 .* has 0: put images"]),
    "images too deep": (
        {"a": 3, "b/more": 3},
        [r"class 'b' must have at least 3 .* has 0", r"3 images are not used, .* --groups folders"],
    ),
    "one level up": (
        {"Dataset/0": 3, "Dataset/1": 3, "Examples": 2},
        [
            r"class 'Dataset' must have at least 3 .* has 0",
            r"class 'Examples' must have at least 3 .* has 2",
            r"6 images are not used",
            r"photos.Dataset has 2 class folders: did you mean that folder\?",
        ],
    ),
    "two levels up": (
        {"sign/Dataset/0": 3, "sign/Dataset/1": 3},
        [
            r"classes must be at least 2, found 1",
            r"class 'sign' must have at least 3",
            r"photos.sign.Dataset has 2 class folders: did you mean that folder\?",
        ],
    ),
    "test alone": (
        {"Testing/a": 3, "Testing/b": 3},
        [r"must have a folder 'train', .* has Testing: add"],
    ),
    "too few images": ({"a": 3, "b": 1}, [r"class 'b' must have at least 3 .* has 1"]),
    "no train": ({"test/a": 2, "test/b": 2}, [r"must have a folder 'train', .* has test: add"]),
    "two vals": (
        {**FULL, "valid/cat": 1},
        [r"must have one folder of its val split, but has val and valid"],
    ),
    "class not in test": (
        {"train/a": 3, "train/b": 3, "test/a": 1},
        [r"class 'b' has no example in the test split: put images"],
    ),
    "class not in train": (
        {"train/a": 3, "train/b": 3, "test/a": 1, "test/b": 1, "test/c": 1},
        [r"class 'c' must have at least 2 examples, for train, val, has 0"],
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_load_data_of_a_wrong_folder_reports_all_faults(make_folder, case):
    counts, patterns = FAULTS[case]
    with pytest.raises(DataError) as caught:
        load_data(make_folder(counts))
    assert len(caught.value.faults) == len(patterns)
    for pattern, fault in zip(patterns, caught.value.faults, strict=True):
        assert re.search(pattern, fault)


def test_load_data_with_faults_of_classes_and_files_reports_all(make_folder):
    root = make_folder({"a": 3, "b": 0})
    (root / "a" / "001.png").write_text("no image")
    with pytest.raises(DataError) as caught:
        load_data(root)
    classes, file = caught.value.faults
    assert "class 'b'" in classes
    assert str(root / "a" / "001.png") in file
