from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smash.data.sources.imagenet32 import class_names, read_imagenet32
from smash.errors import DataError

EACH = 300  # examples a batch: three a class in ten batches


def images(n: int, seed: int) -> np.ndarray:
    """One random image, with the number of the example in its first pixels."""
    image = np.random.default_rng(seed).integers(0, 256, 3072, dtype=np.uint8)
    data = np.tile(image, (n, 1))
    data[:, :2] = np.stack(np.divmod(np.arange(n), 256), axis=1)
    return data


def write_batches(folder: Path, val_folder: Path | None = None) -> dict[str, np.ndarray]:
    """The published files; labels go from 1 to 1000."""
    folder.mkdir(parents=True, exist_ok=True)
    data, labels = images(10 * EACH, 0), np.random.default_rng(1).permutation(10 * EACH) % 1000 + 1
    for number in range(10):
        part = slice(EACH * number, EACH * (number + 1))
        mean = data[part].mean(0)
        path = folder / f"train_data_batch_{number + 1}.npz"
        np.savez(path, data=data[part], labels=labels[part], mean=mean)
    test: dict[str, Any] = {"data": images(1000, 2), "labels": np.arange(1000)[::-1] + 1}
    (val_folder or folder).mkdir(parents=True, exist_ok=True)
    np.savez((val_folder or folder) / "val_data.npz", **test)
    return {
        "data": data,
        "labels": labels,
        "test_data": test["data"],
        "test_labels": test["labels"],
    }


@pytest.mark.parametrize("subfolders", [("", ""), ("imagenet32", "imagenet32"), None])
def test_read_imagenet32_of_the_published_batches_gives_their_images(tmp_path, subfolders):
    train, val = subfolders or ("Imagenet32_train_npz", "Imagenet32_val_npz")
    written = write_batches(tmp_path / train, tmp_path / val)
    found = read_imagenet32(tmp_path)
    assert found.classes == tuple(str(number) for number in range(1, 1001))
    assert (found.flip, found.augmented) == (True, True)
    assert "val" not in found.splits
    for split, key in ((found.splits["train"], ""), (found.splits["test"], "test_")):
        data = written[f"{key}data"]
        # As published: all red values, row by row, then all green and all blue ones.
        expected = np.stack([data[:, 1024 * c : 1024 * (c + 1)] for c in range(3)], axis=1)
        assert np.array_equal(split.images.flatten(2).numpy(), expected)
        assert split.images.shape[1:] == (3, 32, 32)
        assert np.array_equal(split.labels.numpy(), written[f"{key}labels"] - 1)


@pytest.mark.parametrize("layout", ["flat", "channels first", "channels last"])
@pytest.mark.parametrize("first", [0, 1])
def test_read_imagenet32_of_one_file_a_split_gives_its_images(tmp_path, layout, first):
    flat = images(2000, 0)
    data = flat if layout == "flat" else flat.reshape(2000, 3, 32, 32)
    if layout == "channels last":
        data = np.moveaxis(data, 1, -1)
    labels = np.arange(2000) % 1000 + first
    np.savez(tmp_path / "imagenet32x32_train.npz", data=data, labels=labels)
    np.savez(tmp_path / "imagenet32x32_val.npz", data=data[:1000], labels=labels[:1000])
    found = read_imagenet32(tmp_path)
    assert np.array_equal(found.splits["train"].images.flatten(1).numpy(), flat)
    assert np.array_equal(found.splits["train"].labels.numpy(), np.arange(2000) % 1000)
    assert len(found.splits["test"]) == 1000


def test_read_imagenet32_of_a_file_of_another_name_is_refused(tmp_path):
    labels = np.arange(2000) % 1000
    np.savez(tmp_path / "my_train_32.npz", data=images(2000, 0), labels=labels)
    np.savez(tmp_path / "my_val_32.npz", data=images(1000, 1), labels=labels[:1000])
    found = read_imagenet32(tmp_path / "my_train_32.npz")
    assert np.array_equal(found.splits["test"].images.flatten(1).numpy(), images(1000, 1))
    with pytest.raises(DataError, match=r"my_val_32\.npz has no|must be in"):
        read_imagenet32(tmp_path / "my_val_32.npz")


def test_reader_with_image_size_resizes(tmp_path):
    write_batches(tmp_path)
    assert read_imagenet32(tmp_path, 16).splits["train"].images.shape == (10 * EACH, 3, 16, 16)


def test_read_imagenet32_with_a_list_of_names_takes_them(tmp_path):
    write_batches(tmp_path)
    lines = [f"n{10_000_000 + number} {number} crane" for number in range(1, 1001)]
    names = tmp_path / "map_clsloc.txt"
    names.write_text("\n".join(reversed(lines)) + "\n")
    assert read_imagenet32(tmp_path).classes[:2] == ("n10000001 crane", "n10000002 crane")
    names.write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match="for each number from 1 to 1000, has 999"):
        read_imagenet32(tmp_path)


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"n01 1 a\n", "from 1 to 1000, has 1:"), (b"\xff 1", "utf-8")],
)
def test_class_names_of_another_list_are_refused(tmp_path, content, line):
    (tmp_path / "map_clsloc.txt").write_bytes(content)
    with pytest.raises(DataError, match=line):
        class_names(tmp_path / "map_clsloc.txt")


def test_read_imagenet32_without_files_names_them_and_their_source(tmp_path):
    write_batches(tmp_path)
    for name in ("train_data_batch_4.npz", "val_data.npz"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError) as caught:
        read_imagenet32(tmp_path)
    (line,) = str(caught.value).splitlines()
    assert f"must be in {tmp_path}" in line
    assert "which lacks train_data_batch_4.npz, val_data.npz:" in line
    assert "https://image-net.org" in line
    assert "train_data_batch_5.npz" not in line


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"labels": np.arange(EACH) + 900}, "labels must be from 1 to 1000, or from 0 to 999"),
        ({"labels": np.arange(EACH) - 1}, "labels must be from 1 to 1000, or from 0 to 999"),
        ({"labels": np.ones(EACH)}, "labels must be one axis of integers, got float64"),
        ({"data": np.zeros((EACH, 3071), np.uint8)}, "must be uint8 of shape 300x3072"),
        ({"data": np.zeros((EACH, 3072))}, "got float64 of shape 300x3072"),
        ({"data": None}, "must have an array 'data', found labels"),
        ({"data": np.array([None] * EACH)}, "it holds Python objects, which are never loaded"),
    ],
)
def test_read_imagenet32_with_other_contents_is_refused(tmp_path, wrong: dict[str, Any], line):
    write_batches(tmp_path)
    path = tmp_path / "train_data_batch_2.npz"
    content = {"data": images(EACH, 0), "labels": np.arange(EACH) + 1} | wrong
    np.savez(path, **{key: value for key, value in content.items() if value is not None})
    with pytest.raises(DataError, match=line.replace(".", r"\.")) as caught:
        read_imagenet32(tmp_path)
    assert str(path) in str(caught.value) or "labels must be from" in line


def test_read_imagenet32_without_an_archive_or_a_class_is_refused(tmp_path):
    write_batches(tmp_path)
    path = tmp_path / "val_data.npz"
    np.savez(path, data=images(999, 0), labels=np.arange(999) + 1)
    with pytest.raises(DataError, match="class '1000' has no example in the test"):
        read_imagenet32(tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"it is not an \.npz archive"):
        read_imagenet32(tmp_path)
