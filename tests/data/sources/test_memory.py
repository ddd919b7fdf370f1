import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import smash
from smash.data import Augmentation, load_data
from smash.errors import DataError, InvalidValueError, RunStateError
from smash.run.run import Run
from tests.conftest import TINY

RNG = np.random.default_rng(0)
N = 20
IMAGES = RNG.integers(0, 256, (N, 3, 6, 7), dtype=np.uint8)
LABELS = np.arange(N) % 2
ARRAYS = {"data": IMAGES, "labels": LABELS}


class Items(Dataset[Any]):
    """A map-style data set of what it is given."""

    def __init__(self, images, labels, classes=None):
        self.items = list(zip(images, labels, strict=True))
        if classes is not None:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Stream(IterableDataset[Any]):
    def __iter__(self):
        yield from ()


def photos(n: int = N, size: tuple[int, int] = (7, 6)) -> list[Image.Image]:
    shape = (n, size[1], size[0], 3)
    return [Image.fromarray(pixels) for pixels in RNG.integers(0, 256, shape, dtype=np.uint8)]


FORMS: dict[str, Callable[[], Any]] = {
    "pair": lambda: (IMAGES, LABELS),
    "pair of tensors": lambda: (torch.from_numpy(IMAGES), torch.from_numpy(LABELS)),
    "pair of lists": lambda: (IMAGES.tolist(), LABELS.tolist()),
    "mapping": lambda: ARRAYS,
    "tensors that learn": lambda: (torch.tensor(IMAGES.astype("f4"), requires_grad=True), LABELS),
    "torch data set": lambda: TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS)),
    "items": lambda: Items(IMAGES, LABELS.tolist()),
    "photos": lambda: Items(
        [Image.fromarray(image) for image in IMAGES.transpose(0, 2, 3, 1)], LABELS
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_load_data_of_any_form_equals_the_archive(tmp_path, form):
    np.savez(tmp_path / "data.npz", **ARRAYS)
    expected, data = load_data(tmp_path / "data.npz"), load_data(FORMS[form]())
    for one, other in (
        (data.train, expected.train),
        (data.val, expected.val),
        (data.test, expected.test),
    ):
        assert torch.equal(one.images.float(), other.images.float())
        assert torch.equal(one.labels, other.labels)
    assert data.classes == ("0", "1")
    assert data.name == data.settings.source == "(in memory)"
    assert data.augmentation == Augmentation()


def test_load_data_of_splits_in_memory_takes_them():
    test = {"test_data": IMAGES[:4], "test_labels": LABELS[:4], "classes": ["no", "yes"]}
    data = load_data({**ARRAYS, **test, "more": 1})
    assert [len(data.train), len(data.val), len(data.test)] == [18, 2, 4]
    assert data.classes == ("no", "yes")
    assert data.notes[0] == "keys ignored: more"


def test_load_data_with_options_of_axes_reads_them_so():
    volumes = RNG.random((N, 5, 6, 7))
    assert load_data((volumes, LABELS), dims=3).task.size == (5, 6, 7)
    assert load_data((volumes, LABELS), channels="last").task.channels == 7
    items = Items(torch.from_numpy(volumes), LABELS)
    assert load_data(items, dims=3).task.size == (5, 6, 7)


def test_load_data_of_an_array_copies_it():
    images = IMAGES.copy()
    data = load_data((images, LABELS))
    before = data.train.images.clone()
    images[:] = 0
    assert torch.equal(data.train.images, before)


def test_load_data_of_data_sets_by_split_takes_them():
    data = load_data(
        {
            "test": Items(photos(4), [1, 0, 1, 0]),
            "train": Items(photos(8), [0, 1] * 4, classes=["cat", "dog"]),
            "val": Items(photos(2), [0, 1]),
        },
        image_size=5,
    )
    assert [len(split) for split in (data.train, data.val, data.test)] == [8, 2, 4]
    assert data.test.labels.tolist() == [1, 0, 1, 0]
    assert data.classes == ("cat", "dog")
    assert data.task.size == (5, 5)


def test_load_data_of_pictures_in_memory_equals_that_of_files():
    data = load_data(Items([*photos(10), *photos(10, (9, 12))], LABELS))
    assert data.task.size == (6, 6)
    assert "images resized to 6x6 (2 different sizes found)" in data.notes


FAULTS: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "a number": (3, {}, [r"must be a name, a path, .* got int"]),
    "a triple": ((1, 2, 3), {}, [r"got tuple"]),
    "no labels": ({"data": IMAGES}, {}, [r"^key 'labels' is missing, found data"]),
    "objects": (([None] * N, LABELS), {}, [r"data must hold numbers, got dtype object"]),
    "ragged": (([[1], [1, 2]], LABELS), {}, [r"data must be a plain array, but cannot be read"]),
    "half": (
        (torch.zeros(N, 8, dtype=torch.bfloat16), LABELS),
        {},
        [r"data must be a plain array.*BFloat16"],
    ),
    "both at once": (
        (np.full((N, 8), np.nan), LABELS - 1),
        {},
        [r"data must be finite", r"labels must be at least 0, got -1"],
    ),
    "image_size of arrays": (
        (IMAGES, LABELS),
        {"image_size": 8},
        [r"image_size is for images"],
    ),
    "image_size of tensors": (
        Items(IMAGES, LABELS),
        {"image_size": 8},
        [r"image_size is for images: leave it out, got 8"],
    ),
    "a stream": (Stream(), {}, [r"must be a map-style Dataset, .* got Stream"]),
    "no train": (
        {"validate": Items(IMAGES, LABELS)},
        {},
        [r"split 'validate' must be train, val or test", r"split 'train' is missing"],
    ),
    "no pairs": (
        TensorDataset(torch.zeros(12, 3)),
        {},
        [r"item \d of the train split must be a pair \(image, label\), got tuple"] * 10
        + ["and 2 more"],
    ),
    "mixed": (
        Items([*photos(1), *IMAGES[1:]], LABELS),
        {},
        [r"must be all PIL images or all arrays, got 1 PIL images of 20"],
    ),
    "shapes": (
        Items([IMAGES[0, :, 1:], *IMAGES[1:]], LABELS),
        {},
        [r"must have the same shape, got \(3, 5, 7\), \(3, 6, 7\): add a transform"],
    ),
    "words": (Items(photos(), ["a", "b"] * 10), {}, [r"labels must be integers, got dtype <U1"]),
    "too few names": (
        Items(photos(), LABELS, classes=["cat"]),
        {},
        [r"labels must be below the number of classes, 1, got 1"],
    ),
    "empty": (Items([], []), {}, [r"the train split has no items"]),
    "tiny": (
        Items(photos(size=(3, 9)), LABELS),
        {},
        [r"^20 files cannot be used \(its sides must be at least 4, got 3x9\), such as item 0:"],
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_load_data_of_wrong_data_in_memory_reports_all_faults(case):
    source, options, patterns = FAULTS[case]
    with pytest.raises(DataError) as caught:
        load_data(source, **options)
    assert len(caught.value.faults) == len(patterns)
    for pattern, fault in zip(patterns, caught.value.faults, strict=False):
        assert re.search(pattern, fault), fault


def test_load_data_with_wrong_options_reads_nothing():
    with pytest.raises(InvalidValueError, match="val_fraction must be less than 1"):
        load_data((IMAGES, LABELS), val_fraction=2)


def test_run_of_data_in_memory_needs_the_same_data_again(tmp_path):
    arrays = RNG.integers(0, 256, (60, 8, 8), dtype=np.uint8), np.arange(60) % 2
    smash.train(load_data(arrays), tmp_path / "run", epochs=1, **TINY)
    run = Run.open(tmp_path / "run")
    with pytest.raises(RunStateError, match=r"made with data in memory.*run\.data = load_data"):
        smash.search(run, random=1, perturb=0, markov=0)
    with pytest.raises(RunStateError, match="made with other data"):
        run.data = load_data((255 - arrays[0], arrays[1]))
    run.data = load_data(arrays)
    study = smash.search(run, random=1, perturb=0, markov=0, device="cpu")
    assert len(study.ranked()) == 1
    resumed = smash.train(load_data(arrays), tmp_path / "run", resume=True)
    assert resumed.trained
