from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import smash
import smash.data
from smash.data import DATASETS, Augmentation, Split, load_data, normalise
from smash.data.dataset import Source
from smash.errors import DataError, InvalidValueError, NotFoundError
from smash.spaces.task import Task
from tests.conftest import TINY
from tests.processes import in_process


def test_load_data_digits_has_the_images_of_scikit_learn(digits):
    assert digits.name == "digits"
    assert digits.task == Task(channels=1, size=(8, 8), classes=10)
    assert digits.classes == tuple("0123456789")
    assert digits.augmentation == Augmentation(0, False)
    assert [len(split) for split in (digits.train, digits.val, digits.test)] == [1375, 153, 269]
    assert digits.train.images.dtype == torch.uint8
    whole = torch.cat([digits.train.images, digits.val.images, digits.test.images])
    expected = np.rint(load_digits().images * 255 / 16)
    assert sorted(map(bytes, whole.numpy())) == sorted(map(bytes, expected.astype(np.uint8)))


def test_load_data_digits_with_augment_shifts_but_never_mirrors():
    assert load_data("digits", augment=True).augmentation == Augmentation(1, False)


def test_load_data_cuts_every_class_in_proportion(digits):
    for split, share in ((digits.test, 0.15), (digits.val, 0.085), (digits.train, 0.765)):
        counts = torch.bincount(split.labels, minlength=10)
        np.testing.assert_allclose(counts, np.bincount(load_digits().target) * share, atol=1)


def test_statistics_of_data_are_of_the_training_split(digits):
    images = normalise(digits.train.images, digits.mean, digits.std)
    assert float(images.mean()) == pytest.approx(0, abs=1e-5)
    assert float(images.std()) == pytest.approx(1, abs=1e-3)


def test_load_data_with_another_val_fraction_keeps_the_test_split(digits):
    other = load_data("digits", val_fraction=0.3)
    assert torch.equal(other.test.images, digits.test.images)
    assert len(other.val) > len(digits.val)
    assert other.settings.fingerprint != digits.settings.fingerprint


def test_load_data_leaves_global_random_state(digits):
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), str(np.random.get_state())
    again = load_data("digits")
    assert again.settings.fingerprint == digits.settings.fingerprint
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == str(np.random.get_state())


def _write_fingerprint(path):
    path.write_text(load_data("digits").settings.fingerprint)


def test_fingerprint_in_another_process_is_the_same(digits, tmp_path):
    assert in_process(_write_fingerprint, tmp_path / "fingerprint") == 0
    assert (tmp_path / "fingerprint").read_text() == digits.settings.fingerprint


def test_fingerprint_of_other_data_differs(tmp_path):
    data = np.random.default_rng(0).random((20, 8))
    labels = np.arange(20) % 2
    other = data.copy()
    other[3, 3] += 1e-3
    variants: list[dict[str, Any]] = [
        {"data": data, "labels": labels},
        {"data": other, "labels": labels},
        {"data": data, "labels": 1 - labels},
        {"data": data, "labels": labels, "classes": np.array(["a", "b"])},
        {"data": data.reshape(20, 2, 4), "labels": labels},
    ]
    prints = []
    for i, arrays in enumerate(variants):
        np.savez(tmp_path / f"{i}.npz", **arrays)
        np.savez(tmp_path / "copy.npz", **arrays)
        options: dict[str, Any] = {"dims": 1} if i == 4 else {}
        prints.append(load_data(tmp_path / f"{i}.npz", **options).settings.fingerprint)
        assert load_data(tmp_path / "copy.npz", **options).settings.fingerprint == prints[-1]
    assert len(set(prints)) == len(variants)


def test_load_data_of_a_name_precedes_a_folder(tmp_path, monkeypatch, digits):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert load_data("digits").settings.fingerprint == digits.settings.fingerprint


def test_load_data_by_folds_tests_on_every_example_once():
    folds = [load_data("digits", test_fold=f"{number}/5") for number in range(1, 6)]
    assert torch.cat([each.test.rows for each in folds]).sort().values.tolist() == list(range(1797))
    for each in folds:
        rows = torch.cat([split.rows for split in (each.train, each.val, each.test)])
        assert rows.sort().values.tolist() == list(range(1797))


def test_load_data_by_folds_of_data_with_a_test_split_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    own = {
        f"{name}_{split}": value[:20]
        for split in ("train", "test")
        for name, value in {"x": np.zeros((20, 1, 8), np.float32), "y": np.arange(20) % 2}.items()
    }
    np.savez(path, **own)
    for option in ({"test_fold": "1/5"}, {"test_fraction": 0.3}):
        (name,) = option
        with pytest.raises(InvalidValueError, match=f"{name} is for data without a test split"):
            load_data(path, **option)
    assert len(load_data(path, val_fraction=0.3).val) == 6


def test_load_data_of_a_registered_reader_uses_it(monkeypatch, digits):
    monkeypatch.setitem(DATASETS, "mine", DATASETS["digits"])
    assert load_data("mine").settings.fingerprint == digits.settings.fingerprint


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        ("digit", InvalidValueError, "data set 'digit' is not known: did you mean 'digits'?"),
        ("imagenet", InvalidValueError, "'imagenet' is not known: did you mean 'imagenet32'?"),
        ("mine", InvalidValueError, "'mine' is not known: choose one of cifar10, cifar100, digits"),
        ("./digits2", NotFoundError, "./digits2 does not exist; name a folder"),
        ("some/where", NotFoundError, "some/where does not exist"),
        ("data.npz", NotFoundError, "data.npz does not exist"),
    ],
)
def test_load_data_of_an_unknown_source_is_refused(tmp_path, monkeypatch, source, error, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        load_data(source)
    (line,) = caught.value.faults
    assert text in line


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({"val_fraction": 0.0}, ["val_fraction must be greater than 0, got 0.0"]),
        ({"test_fraction": 1}, ["test_fraction must be less than 1, got 1"]),
        ({"test_fraction": float("nan")}, ["test_fraction must be a finite number, got nan"]),
        ({"val_fraction": 0.5, "test_fraction": 0.4}, ["must add up to less than 0.9, got 0.5"]),
        (
            {"test_fold": "0/5"},
            ["test_fold must be K/N, the K-th of N parts, such as 2/5, with N of 2 to 99, got '0/"],
        ),
        ({"test_fold": "1/2", "val_fraction": 0.5}, ["add up to less than 0.9, got 0.5 and 0.5"]),
        ({"test_fold": "1/5", "test_fraction": 0.2}, ["test_fold and test_fraction exclude"]),
        (
            {"image_size": 5000},
            ["image_size must be at most 4096, got 5000", "image_size is for folders"],
        ),
        ({"image_size": 8}, ["image_size is for folders of images: leave it out for 'digits', go"]),
        ({"dims": 2}, ["dims is for .npz files: leave it out for 'digits', got 2"]),
        (
            {"val_fraction": -1, "test_fraction": 2, "image_size": 3, "dims": 4, "channels": "lst"},
            [
                "image_size must be at least 4, got 3",
                "dims must be at most 3, got 4",
                "channels 'lst' is not known: did you mean 'last'?",
                "val_fraction must be greater than 0, got -1",
                "test_fraction must be less than 1, got 2",
                "image_size is for folders of images",
                "dims is for .npz files",
                "channels is for .npz files",
            ],
        ),
    ],
)
def test_load_data_with_wrong_options_reports_all_faults(options, lines):
    with pytest.raises(InvalidValueError) as caught:
        load_data("digits", **options)
    assert len(caught.value.faults) == len(lines)
    for line, fault in zip(lines, caught.value.faults, strict=True):
        assert line in fault


def test_public_names_of_data_exist():
    assert all(hasattr(smash.data, name) for name in smash.data.__all__)


def test_load_data_with_val_order_last_takes_the_last_examples(digits):
    last = load_data("digits", val_order="last")
    n = len(digits.train) + len(digits.val)
    assert [len(last.train), len(last.val)] == [n - round(0.1 * n), round(0.1 * n)]
    # The test split is cut before, and is the same; then the file's order is kept.
    assert torch.equal(last.test.images, digits.test.images)
    whole = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    tested = set(map(bytes, last.test.images.numpy()))
    in_order = [image for image in whole if bytes(image) not in tested]
    found = torch.cat([last.train.images, last.val.images]).numpy()[:, 0]
    assert np.array_equal(found, np.stack(in_order))
    assert last.settings.fingerprint != digits.settings.fingerprint
    assert "the last ones" in last.notes[-1]
    with pytest.raises(InvalidValueError, match="did you mean 'last'"):
        load_data("digits", val_order="lats")


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
    child = smash.retrain(run, rank=0, epochs=1, batch_size=10, test=True, device="cpu")
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
