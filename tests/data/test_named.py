"""Named data sets, from a name to a run that finds them again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import smash
from smash.data import DATASETS, Augmentation, Split, load_data
from smash.data.dataset import Source
from smash.errors import DataError, InvalidValueError
from smash.spaces.task import Task
from tests.conftest import TINY


@pytest.fixture
def modelnet(tmp_path):
    """Voxels of 8³ in the published layout: 60 objects to learn from, 20 to test on."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 60), ("test", 20)):
        np.savez_compressed(
            tmp_path / f"modelnet10_rot24_{split}.npz",
            features=rng.integers(0, 2, (24 * n, 1, 8, 8, 8), dtype=np.uint8),
            targets=np.repeat(np.arange(n) % 10, 24).astype(np.uint8),
        )
    return tmp_path


def test_datasets_name_all_published_data_sets():
    assert set(DATASETS) >= {
        *("digits", "cifar10", "cifar100", "stl10", "imagenet32", "modelnet10", "modelnet40")
    }


def test_load_data_of_views_keeps_them_together(modelnet):
    data = load_data("modelnet10", data_dir=modelnet)
    assert data.task == Task(channels=1, size=(8, 8, 8), classes=10)
    assert data.augmentation == Augmentation()
    assert [len(split) for split in (data.train, data.val, data.test)] == [50, 10, 20]
    with np.load(modelnet / "modelnet10_rot24_train.npz") as archive:
        objects = archive["features"].reshape(60, 24, 8, 8, 8)
        targets = archive["targets"][::24]
    numbers = {voxels.tobytes(): number for number, voxels in enumerate(objects)}
    found = []
    for split in (data.train, data.val):
        assert split.views == 24
        of_examples = split.images.view(-1, 24, 8, 8, 8).numpy() // 255
        of_split = [numbers[voxels.tobytes()] for voxels in of_examples]
        assert np.array_equal(targets[of_split], split.labels.numpy())
        found += of_split
    assert sorted(found) == list(range(60))


def test_load_data_without_data_dir_reads_that_of_the_environment(modelnet, monkeypatch, tmp_path):
    there = load_data("modelnet10", data_dir=str(modelnet))
    monkeypatch.setenv("SMASH_DATA", str(modelnet))
    assert load_data("modelnet10").settings.fingerprint == there.settings.fingerprint
    monkeypatch.delenv("SMASH_DATA")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(DataError, match=r"home/\.cache/smash/data"):
        load_data("modelnet10")


def test_run_of_a_named_data_set_reads_it_again_with_its_views(modelnet, tmp_path):
    data = load_data("modelnet10", data_dir=modelnet, val_fraction=0.2)
    run = smash.train(data, tmp_path / "run", epochs=1, batch_size=10, **TINY)
    again = smash.Run.open(tmp_path / "run").data
    assert again.settings == data.settings
    assert again.settings.data_dir == str(modelnet)
    score = smash.search(run, random=1, perturb=0, markov=0)
    assert score is not None
    child = smash.retrain(run, epochs=1, batch_size=10, device="cpu")
    assert child.result["test"].examples == 20


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"fold": 11}, "fold must be at most 10, got 11"),
        ({"fold": 3}, "fold is for 'stl10': leave it out for 'digits', got 3"),
        ({"data_dir": "x"}, "data_dir is for named data sets that come in files: leave it out"),
    ],
)
def test_load_data_with_unfit_options_is_refused(options: dict[str, Any], line):
    with pytest.raises(InvalidValueError) as caught:
        load_data("digits", **options)
    assert line in str(caught.value)


def test_load_data_of_a_registered_reader_passes_its_options(monkeypatch, tmp_path):
    def read(data_dir: str | Path | None, fold: int | None = None) -> Source:
        labels = torch.arange(40) % 2
        images = torch.full((40, 1, 8, 8), len(str(data_dir)) + 100 * (fold or 0)).float()
        return Source(classes=("a", "b"), splits={"train": Split(images, labels)})

    monkeypatch.setitem(DATASETS, "mine", read)
    data = load_data("mine", data_dir=tmp_path, fold=3)
    assert (data.train.images == len(str(tmp_path)) + 300).all()
    with pytest.raises(InvalidValueError, match="image_size is for folders of images"):
        load_data("mine", image_size=8)


def test_load_data_without_a_home_directory_asks_for_a_folder(monkeypatch, make_folder):
    def unknown_user(uid: int) -> None:
        raise KeyError(uid)

    for variable in ("HOME", "SMASH_DATA", "SMASH_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown_user)  # as in a container without that user
    with pytest.raises(DataError, match="there is no home directory: name it with --data-dir"):
        load_data("modelnet10")
    data = load_data(make_folder({"a": 3, "b": 3}))
    assert (
        "decoded images are not cached: there is no home directory (see SMASH_CACHE)" in data.notes
    )
