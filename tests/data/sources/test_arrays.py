import re
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from smash.data import Augmentation, Data, load_data
from smash.errors import DataError

RNG = np.random.default_rng(0)
N = 20
LABELS = np.arange(N) % 2


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        path = tmp_path / "data.npz"
        np.savez(path, **{"labels": LABELS, **arrays})
        return path

    return save


def numbered(*shape: int) -> NDArray[np.float64]:
    """Examples of distinct numbers, so that axes in a wrong order show."""
    return np.arange(N * np.prod(shape), dtype=np.float64).reshape(N, *shape)


def all_images(data: Data) -> NDArray[Any]:
    images = torch.cat([data.train.images, data.val.images, data.test.images])
    return images[images.flatten(1)[:, 0].argsort()].numpy()


@pytest.mark.parametrize(
    ("shape", "options", "channel_axis"),
    [
        ((9,), {}, None),
        ((9,), {"dims": 1}, None),
        ((5, 6), {}, None),
        ((5, 6), {"dims": 2}, None),
        ((5, 6), {"dims": 1}, 1),
        ((5, 6), {"dims": 1, "channels": "last"}, 2),
        ((5, 6), {"channels": "first"}, 1),
        ((3, 5, 6), {}, 1),
        ((3, 5, 4), {}, 1),
        ((5, 6, 3), {}, 3),
        ((5, 6, 3), {"dims": 2}, 3),
        ((5, 6, 7), {"channels": "last"}, 3),
        ((5, 6, 7), {"channels": "first"}, 1),
        ((5, 6, 7), {"channels": "none"}, None),
        ((4, 6, 7), {"dims": 3}, None),
        ((2, 4, 5, 6), {}, 1),
        ((4, 5, 6, 2), {"channels": "last"}, 4),
        ((4, 5, 6, 2), {"dims": 3, "channels": "last"}, 4),
    ],
)
def test_load_data_of_an_archive_finds_the_axes_of_its_data(save, shape, options, channel_axis):
    array = numbered(*shape)
    data = load_data(save(data=array), **options)
    expected = array[:, None] if channel_axis is None else np.moveaxis(array, channel_axis, 1)
    np.testing.assert_array_equal(all_images(data), expected)
    assert data.train.images.is_contiguous()
    assert (data.task.channels, *data.task.size) == expected.shape[1:]
    size = "x".join(map(str, data.task.size))
    note = f"read as {data.task.channels} channel(s) of size {size}"
    assert data.notes[0].startswith(f"data of shape {N}x{'x'.join(map(str, shape))} {note}")


@pytest.mark.parametrize(
    ("array", "dtype", "peak"),
    [
        (RNG.integers(0, 256, (N, 8), dtype=np.uint8), torch.uint8, None),
        (RNG.random((N, 8)) > 0.5, torch.uint8, 255),
        (RNG.integers(0, 17, (N, 8)), torch.uint8, None),
        (RNG.integers(0, 256, (N, 8)).astype(">i4"), torch.uint8, None),
        (RNG.integers(-1, 17, (N, 8)), torch.float32, None),
        (RNG.integers(0, 1000, (N, 8), dtype=np.uint16), torch.float32, None),
        (RNG.random((N, 8)), torch.float32, None),
        (RNG.random((N, 8)).astype(np.float16), torch.float32, None),
        (RNG.random((N, 8)).astype(">f4"), torch.float32, None),
    ],
)
def test_load_data_of_an_archive_keeps_its_values(save, array, dtype, peak):
    data = load_data(save(data=array))
    images = torch.cat([data.train.images, data.val.images, data.test.images])
    assert images.dtype == dtype
    expected = array.astype(np.float32) * (peak or 1)
    np.testing.assert_array_equal(np.sort(images.float().flatten()), np.sort(expected.flatten()))


def test_load_data_with_test_data_and_classes_takes_them(save):
    test_data, test_labels = RNG.random((4, 8)), np.array([1, 0, 1, 0], np.uint8)
    path = save(
        data=RNG.random((N, 8)),
        test_data=test_data,
        test_labels=test_labels,
        classes=np.array(["no", "yes"]),
        extra=np.zeros(3),
    )
    data = load_data(path)
    assert data.classes == ("no", "yes")
    assert data.test.labels.tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(data.test.images[:, 0].numpy(), test_data.astype(np.float32))
    assert [len(data.train), len(data.val)] == [18, 2]
    assert data.notes[0] == "keys ignored: extra"


def test_load_data_with_test_data_converts_both_alike(save):
    data = load_data(
        save(
            data=np.full((N, 8), 255),
            test_data=np.full((2, 8), 256),
            test_labels=np.array([0, 1]),
        )
    )
    assert data.train.images.dtype == data.test.images.dtype == torch.float32


def test_load_data_without_class_names_takes_the_labels(save):
    data = load_data(save(data=RNG.random((N, 8)), labels=np.arange(N) % 3))
    assert data.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((16, 16), {}, Augmentation()),
        ((16, 24), {"augment": True}, Augmentation(2, True)),
        ((16,), {"augment": True}, Augmentation(2, False)),
        ((16, 16, 16), {"augment": True, "dims": 3}, Augmentation(2, False)),
    ],
)
def test_load_data_with_augment_mirrors_only_images(save, shape, options, expected):
    assert load_data(save(data=RNG.random((N, *shape))), **options).augmentation == expected


GOOD = RNG.random((N, 8))
FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "no data": ({}, {}, [r"key 'data' is missing, found labels"]),
    "no test labels": (
        {"data": GOOD, "test_data": GOOD},
        {},
        [r"key 'test_labels' is missing, found data, labels, test_data"],
    ),
    "no test data": ({"data": GOOD, "test_labels": LABELS}, {}, [r"key 'test_data' is missing"]),
    "objects": (
        {"data": np.array([None] * N), "labels": np.array([{}] * N)},
        {},
        [r"data must be a plain array.*allow_pickle", r"labels must be a plain array"],
    ),
    "words": ({"data": np.array(["a"] * N)}, {}, [r"data must hold numbers, got dtype <U1"]),
    "complex": ({"data": GOOD * 1j}, {}, [r"data must hold numbers, got dtype complex128"]),
    "nan": (
        {"data": np.where(GOOD > 0.5, np.nan, GOOD)},
        {},
        [rf"data must be finite as float32, got {(GOOD > 0.5).sum()} values"],
    ),
    "inf": (
        {"data": np.where(np.eye(N, 8)[::-1] * GOOD > 0, -np.inf, GOOD)},
        {},
        [r"finite .* got 8 val"],
    ),
    "too large for float32": ({"data": GOOD * 1e39}, {}, [r"data must be finite as float32"]),
    "one axis": ({"data": np.zeros(N)}, {}, [r"shape 20 must have 1, 2 or 3 .* has 0"]),
    "no axis": (
        {"data": 1.0},
        {},
        [r"must have 1, 2 or 3 spatial", r"labels must have shape \(\), one per example"],
    ),
    "six axes": ({"data": np.zeros((N, 1, 4, 4, 4, 4))}, {}, [r"must have 1, 2 or 3 .* has 4"]),
    "unclear": (
        {"data": np.zeros((N, 8, 8, 8))},
        {},
        [r"shape 20x8x8x8 must have 1 to 4 channels .*pass --dims 3 .* --channels first or last"],
    ),
    "wrong dims": ({"data": GOOD}, {"dims": 3}, [r"must have 3 with dims=3 spatial .* has 0"]),
    "wrong channels": ({"data": GOOD}, {"channels": "last"}, [r"channels \(last\), has 0"]),
    "small": ({"data": np.zeros((N, 3, 9))}, {}, [r"at least 4 values per axis, got .* 3x9"]),
    "no channels": (
        {"data": np.zeros((N, 0, 9))},
        {"dims": 1},
        [r"examples must have a channel .* got 0 channels"],
    ),
    "float labels": ({"data": GOOD, "labels": LABELS + 0.5}, {}, [r"labels .* got dtype float64"]),
    "flags as labels": ({"data": GOOD, "labels": LABELS > 0}, {}, [r"labels .* got dtype bool"]),
    "negative labels": ({"data": GOOD, "labels": LABELS - 1}, {}, [r"at least 0, got -1"]),
    "gap": ({"data": GOOD, "labels": LABELS * 2}, {}, [r"without gaps, got 2 but no 1"]),
    "labels from 1": ({"data": GOOD, "labels": LABELS + 1}, {}, [r"gaps, got 1 but no 0"]),
    "fewer labels": (
        {"data": GOOD, "labels": LABELS[1:]},
        {},
        [r"shape 20, .* shape 19"],
    ),
    "one-hot": (
        {"data": GOOD, "labels": np.eye(N, dtype=int)},
        {},
        [r"must have shape 20, .* got shape 20x20"],
    ),
    "one class": ({"data": GOOD, "labels": LABELS * 0}, {}, [r"at least 2, found 1 \('0'\)"]),
    "no examples": ({"data": GOOD[:0], "labels": LABELS[:0]}, {}, [r"at least 2, found 0"]),
    "rare class": (
        {"data": GOOD, "labels": np.r_[np.zeros(N - 1, int), 1]},
        {},
        [r"class '1' must have at least 3 examples, for train, val, test, has 1: add"],
    ),
    "unused class": (
        {"data": GOOD, "classes": np.array(["a", "b", "c"])},
        {},
        [r"class 'c' must have at least 3 .* has 0"],
    ),
    "too few names": (
        {"data": GOOD, "labels": np.arange(N) % 3, "classes": np.array(["a", "b"])},
        {},
        [r"labels must be below the number of classes, 2, got 2"],
    ),
    "names twice": ({"data": GOOD, "classes": np.array(["a", "a"])}, {}, [r"got 'a' more than"]),
    "names as numbers": ({"data": GOOD, "classes": GOOD}, {}, [r"classes must be .* float64"]),
    "test of other shape": (
        {"data": GOOD, "test_data": GOOD[:, 1:], "test_labels": LABELS},
        {},
        [r"test_data must be like data, float64 of shape \(n, 8\), got float64 of shape 20x7"],
    ),
    "test of other type": (
        {"data": GOOD, "test_data": GOOD > 0, "test_labels": LABELS},
        {},
        [r"test_data must be like data, .* got bool"],
    ),
    "test of other classes": (
        {"data": GOOD, "test_data": GOOD, "test_labels": LABELS + 1},
        {},
        [r"class '2' must have at least 2 .* has 0", r"class '0' has no example in"],
    ),
    "class not in test": (
        {"data": GOOD, "test_data": GOOD, "test_labels": LABELS * 0},
        {},
        [r"class '1' has no example in the test split"],
    ),
    "several": (
        {"data": GOOD * np.nan, "labels": LABELS - 1, "classes": np.array(["a", "a"])},
        {},
        [r"data must be finite", r"labels must be at least 0, got -1", r"classes must differ"],
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_load_data_of_a_wrong_archive_reports_all_faults(save, tmp_path, case):
    arrays, options, patterns = FAULTS[case]
    with pytest.raises(DataError) as caught:
        load_data(save(**arrays), **options)
    assert len(caught.value.faults) == len(patterns)
    for pattern, fault in zip(patterns, caught.value.faults, strict=True):
        assert fault.startswith(f"{tmp_path / 'data.npz'}: ")
        assert re.search(pattern, fault)
        assert "\n" not in fault


def test_load_data_of_another_file_is_refused(tmp_path):
    np.save(tmp_path / "data.npy", GOOD)
    with pytest.raises(DataError, match=r"data\.npy: it is not an \.npz archive"):
        load_data(tmp_path / "data.npy")


def test_load_data_of_a_damaged_archive_is_refused(save):
    path = save(data=GOOD)
    content = path.read_bytes()
    numbers = GOOD.tobytes()
    path.write_bytes(content.replace(numbers, b"x" * len(numbers)))
    with pytest.raises(DataError, match=r"data must be a plain array, but cannot be read .*CRC"):
        load_data(path)


def test_load_data_of_a_truncated_archive_is_refused(save):
    path = save(data=GOOD)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"it is not an \.npz archive"):
        load_data(path)


SPLIT_KEYS = {
    "smash": "data labels val_data val_labels test_data test_labels",
    "MedMNIST": "train_images train_labels val_images val_labels test_images test_labels",
    "Keras": "x_train y_train x_val y_val x_test y_test",
    "capitals": "X_train Y_train X_valid Y_valid X_test Y_test",
}


@pytest.mark.parametrize("names", SPLIT_KEYS.values(), ids=SPLIT_KEYS)
def test_load_data_with_usual_names_of_splits_takes_them(tmp_path, names):
    examples = {"train": (N, 0), "val": (6, 1), "test": (8, 2)}
    arrays: dict[str, Any] = {}
    for (n, value), (data, labels) in zip(
        examples.values(), zip(*[iter(names.split())] * 2, strict=True), strict=True
    ):
        arrays[data] = np.full((n, 8), value)
        arrays[labels] = np.arange(n)[:, None] % 2  # a column, as in MedMNIST
    np.savez(tmp_path / "data.npz", **arrays)
    data = load_data(tmp_path / "data.npz")
    assert [len(split) for split in data.splits.values()] == [N, 6, 8]
    assert [set(s.images.flatten().tolist()) for s in data.splits.values()] == [{0}, {1}, {2}]
    assert not any("set apart" in note or "ignored" in note for note in data.notes)


def test_load_data_with_labels_as_floats_takes_them(save):
    data = load_data(save(data=GOOD, labels=LABELS.astype(np.float32)))
    assert sorted(data.train.labels.unique().tolist()) == [0, 1]


UNUSED = {
    "unknown split": ({"dev_data": GOOD}, r"key 'dev_data' looks like part of a split"),
    "misspelt": ({"val_date": GOOD}, r"key 'val_date' looks like part of a split.* rename it"),
    "holdout": ({"holdout": GOOD}, r"key 'holdout' looks like"),
    "labels alone": ({"y_val": LABELS}, r"key 'val_data' is missing"),
    "twice": ({"x_train": GOOD}, r"keys '(data|x_train)' and '(data|x_train)' mean the same"),
    "groups of a part": (
        {"groups": LABELS, "test_data": GOOD, "test_labels": LABELS},
        r"key 'test_groups' is missing",
    ),
}


@pytest.mark.parametrize("case", UNUSED)
def test_load_data_with_unused_keys_that_look_like_a_split_is_refused(save, case):
    more, pattern = UNUSED[case]
    with pytest.raises(DataError) as caught:
        load_data(save(data=GOOD, **more))
    (fault,) = caught.value.faults
    assert re.search(pattern, fault)


def test_load_data_with_many_keys_keeps_its_message_short(save):
    with pytest.raises(DataError) as caught:
        load_data(save(**{f"key{number}": np.zeros(1) for number in range(3000)}))
    assert len(str(caught.value)) < 500
