from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import smash.data
from smash.data import DATASETS, Augmentation, load_data, normalise
from smash.errors import InvalidValueError, NotFoundError
from smash.spaces.task import Task
from tests.processes import in_process


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


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


def test_data_to_a_device_moves_every_split(digits):
    moved = digits.to("meta")
    for split in (moved.train, moved.val, moved.test, digits.val.to("meta")):
        assert split.images.device.type == split.labels.device.type == "meta"
    assert moved.settings.fingerprint == digits.settings.fingerprint


def test_subset_has_the_named_examples(digits):
    subset = digits.train.subset(torch.tensor([5, 2]))
    assert len(subset) == 2
    assert torch.equal(subset.images[1], digits.train.images[2])
    assert subset.labels[0] == digits.train.labels[5]


def test_load_data_of_a_name_precedes_a_folder(tmp_path, monkeypatch, digits):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert load_data("digits").settings.fingerprint == digits.settings.fingerprint


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
        ({"test_fraction": float("nan")}, ["test_fraction must be less than 1, got nan"]),
        ({"val_fraction": 0.5, "test_fraction": 0.4}, ["must add up to less than 0.9, got 0.5"]),
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
