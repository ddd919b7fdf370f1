import hashlib
import pickle
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100, STL10
from torchvision.transforms.functional import pil_to_tensor

from smash.data.sources import torchvision as vision
from smash.data.sources.torchvision import read_cifar, read_stl
from smash.errors import DataError

CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
STL_CLASSES = (
    *("airplane", "bird", "car", "cat", "deer"),
    *("dog", "horse", "monkey", "ship", "truck"),
)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def signed(reader: type[Any], folder: Path) -> type[Any]:
    """torchvision's reader, for small files: with their md5 and an archive of them to download."""
    files = folder / reader.base_folder
    archive = folder / "published" / reader.filename
    archive.parent.mkdir(exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(files, reader.base_folder)
    changes: dict[str, Any] = {"url": archive.as_uri(), "tgz_md5": md5(archive)}
    for part in ("train_list", "test_list"):
        names = [name for name, _ in getattr(reader, part) if (files / name).exists()]
        changes[part] = [[name, md5(files / name)] for name in names]
    if hasattr(reader, "meta"):
        changes["meta"] = {**reader.meta, "md5": md5(files / reader.meta["filename"])}
    return type("Small", (reader,), changes)


def write_pickle(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture
def cifar10(tmp_path):
    """Six files as published, of 20 images each."""
    folder, rng = tmp_path / CIFAR10.base_folder, np.random.default_rng(0)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        data = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        write_pickle(folder / name, {"data": data, "labels": [i % 10 for i in range(20)]})
    write_pickle(folder / "batches.meta", {"label_names": list(CIFAR_CLASSES)})
    return signed(CIFAR10, tmp_path)


@pytest.fixture
def stl10(tmp_path):
    """Files as published, of 100 images in ten folds and 20 to test on."""
    folder, rng = tmp_path / STL10.base_folder, np.random.default_rng(0)
    folder.mkdir()
    for name, n in (("train", 100), ("test", 20)):
        # As published: channel, column, row.
        rng.integers(0, 256, (n, 3, 96, 96), dtype=np.uint8).tofile(folder / f"{name}_X.bin")
        (np.arange(n) % 10 + 1).astype(np.uint8).tofile(folder / f"{name}_y.bin")
    (folder / "class_names.txt").write_text("\n".join(STL_CLASSES) + "\n")
    order = np.arange(100).reshape(10, 10)
    lines = [" ".join(map(str, fold)) for fold in order]
    (folder / "fold_indices.txt").write_text("\n".join(lines) + "\n")
    return signed(STL10, tmp_path)


def test_read_cifar10_equals_torchvision(cifar10, tmp_path):
    found = read_cifar(cifar10, tmp_path, None)
    assert found.classes == CIFAR_CLASSES
    assert found.augmented
    assert found.flip
    assert "val" not in found.splits
    for split, train in ((found.splits["train"], True), (found.splits["test"], False)):
        assert split is not None
        assert split.images.shape == (100 if train else 20, 3, 32, 32)
        for index, (image, label) in enumerate(cifar10(tmp_path, train=train)):
            assert torch.equal(split.images[index], pil_to_tensor(image))
            assert split.labels[index] == label


def test_read_cifar100_has_fine_classes(tmp_path):
    folder = tmp_path / CIFAR100.base_folder
    rng, names = np.random.default_rng(0), [f"class {number}" for number in range(100)]
    for name, n in (("train", 300), ("test", 100)):
        data = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
        labels = list(rng.permutation(n) % 100)
        write_pickle(folder / name, {"data": data, "fine_labels": labels, "coarse_labels": [0] * n})
    write_pickle(folder / "meta", {"fine_label_names": names, "coarse_label_names": ["all"]})
    found = read_cifar(signed(CIFAR100, tmp_path), tmp_path, None)
    assert found.classes == tuple(names)
    assert torch.bincount(found.splits["train"].labels).tolist() == [3] * 100


def test_read_stl10_equals_torchvision_at_full_size(stl10, tmp_path):
    found = read_stl(stl10, tmp_path, None, 10)
    assert found.classes == STL_CLASSES
    assert found.splits["train"].images.shape == (100, 3, 96, 96)
    for index, (image, label) in enumerate(stl10(tmp_path, "test")):
        assert torch.equal(found.splits["test"].images[index], pil_to_tensor(image))
        assert found.splits["test"].labels[index] == label


def test_read_stl10_with_a_fold_takes_a_tenth_of_train(stl10, tmp_path):
    whole = read_stl(stl10, tmp_path, None, None).splits["train"]
    for fold in (0, 9):
        found = read_stl(stl10, tmp_path, None, fold)
        assert torch.equal(found.splits["train"].images, whole.images[10 * fold : 10 * fold + 10])
        assert torch.equal(found.splits["train"].labels, whole.labels[10 * fold : 10 * fold + 10])
        assert len(found.splits["test"]) == 20


def test_reader_with_image_size_resizes(stl10, tmp_path):
    found = read_stl(stl10, tmp_path, 32, None)
    assert found.splits["train"].images.shape == (100, 3, 32, 32)
    assert found.splits["train"].images.dtype == torch.uint8
    # The mean over an image survives an antialiased reduction, but for its border.
    whole = read_stl(stl10, tmp_path, None, None).splits["train"].images
    difference = found.splits["train"].images.float().mean((2, 3)) - whole.float().mean((2, 3))
    assert difference.abs().max() < 2


def test_reader_of_the_published_folder_itself_reads_it(cifar10, tmp_path):
    direct = read_cifar(cifar10, tmp_path / CIFAR10.base_folder, None)
    above = read_cifar(cifar10, tmp_path, None)
    assert torch.equal(direct.splits["train"].images, above.splits["train"].images)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Address of a server on this machine that serves the archives."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = partial(QuietHandler, directory=tmp_path / "published")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.mark.parametrize("damage", [False, True])
def test_reader_of_missing_or_damaged_files_downloads_them(cifar10, tmp_path, served, damage):
    place = tmp_path / "other"
    cifar10.url = f"{served}/{cifar10.filename}"
    if damage:
        read_cifar(cifar10, place, None)
        (place / CIFAR10.base_folder / "data_batch_3").write_bytes(b"nothing")
    found = read_cifar(cifar10, place, None)
    whole = read_cifar(cifar10, tmp_path, None)
    assert torch.equal(found.splits["train"].images, whole.splits["train"].images)


@pytest.mark.parametrize("fixture", ["cifar10", "stl10"])
def test_reader_without_a_network_says_what_to_put_where(fixture, tmp_path, request):
    reader = request.getfixturevalue(fixture)
    reader.url = (tmp_path / "gone.tar.gz").as_uri()
    place = tmp_path / "empty"
    with pytest.raises(DataError) as caught:
        if fixture == "cifar10":
            read_cifar(reader, place, None)
        else:
            read_stl(reader, place, None, None)
    (line,) = str(caught.value).splitlines()
    for word in (str(place), reader.base_folder, reader.filename, reader.url, reader.tgz_md5):
        assert word in line
    assert "No such file" in line
    assert "--data-dir" in line
    assert "SMASH_DATA" in line


def test_reader_of_a_pickle_with_another_digest_never_opens_it(cifar10, tmp_path):
    cifar10.url = (tmp_path / "gone.tar.gz").as_uri()
    trap = tmp_path / "trap"
    code = f"cos\nmkdir\n(V{trap}\ntR."  # a pickle that makes a folder when it is read
    (tmp_path / CIFAR10.base_folder / "data_batch_2").write_text(code)
    with pytest.raises(DataError, match="is missing or incomplete in"):
        read_cifar(cifar10, tmp_path, None)
    assert not trap.exists()
    with (
        pytest.raises(TypeError),
        (tmp_path / CIFAR10.base_folder / "data_batch_2").open("rb") as f,
    ):
        pickle.load(f)["data"]  # noqa: S301 - shows that the trap works
    assert trap.exists()


def test_load_data_by_name_reads_the_published_data_set(cifar10, stl10, tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", cifar10)
    found = vision.read_cifar10(tmp_path, image_size=16)
    assert found.splits["train"].images.shape == (100, 3, 16, 16)
    monkeypatch.setattr("torchvision.datasets.STL10", stl10)
    assert len(vision.read_stl10(tmp_path, fold=3).splits["train"]) == 10
