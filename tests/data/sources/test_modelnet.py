from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smash.data.sources.modelnet import MODELNET10, MODELNET40, read_modelnet10, read_modelnet40
from smash.errors import DataError

SIDE = 5


def objects(n: int, seed: int) -> np.ndarray:
    """Random voxels of shape (n, 24, side, side, side)."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, (n, 24, SIDE, SIDE, SIDE), dtype=np.uint8)


def write(folder: Path, classes: int, train: dict[str, Any], test: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"modelnet{classes}_rot24_train.npz", **train)
    np.savez(folder / f"modelnet{classes}_rot24_test.npz", **test)


def test_classes_are_the_published_ones_in_order():
    assert (len(MODELNET10), len(MODELNET40)) == (10, 40)
    for names in (MODELNET10, MODELNET40):
        assert list(names) == sorted(set(names))
    assert set(MODELNET10) < set(MODELNET40)
    assert [MODELNET40.index(name) for name in ("airplane", "chair", "monitor", "xbox")] == [
        *(0, 8, 22),
        39,
    ]


@pytest.mark.parametrize("layout", ["published", "no channel", "views", "data and labels"])
def test_read_modelnet_gives_examples_of_24_views(tmp_path, layout):
    voxels = {
        split: objects(n, seed) for seed, (split, n) in enumerate({"a": 120, "b": 40}.items())
    }
    labels = {
        split: np.random.default_rng(3).permutation(len(v)) % 40 for split, v in voxels.items()
    }
    rows = {split: v.reshape(-1, 1, SIDE, SIDE, SIDE) for split, v in voxels.items()}
    if layout == "published":
        files = [
            {"features": rows[s], "targets": np.repeat(labels[s], 24).astype(np.uint8)}
            for s in "ab"
        ]
    elif layout == "no channel":
        files = [{"features": rows[s][:, 0], "targets": labels[s]} for s in "ab"]
    elif layout == "views":
        files = [{"features": voxels[s], "targets": labels[s]} for s in "ab"]
    else:
        files = [{"data": rows[s] > 0, "labels": np.repeat(labels[s], 24)} for s in "ab"]
    write(tmp_path / "modelnet40", 40, *files)
    found = read_modelnet40(tmp_path)
    assert found.classes == MODELNET40
    assert (found.flip, found.augmented, "val" in found.splits) == (False, False, False)
    for split, name in ((found.splits["train"], "a"), (found.splits["test"], "b")):
        assert (len(split), split.views) == (len(voxels[name]), 24)
        assert np.array_equal(split.images.numpy(), 255 * rows[name])
        assert np.array_equal(split.labels.numpy(), labels[name])
        assert torch.equal(
            split.subset(torch.tensor([2])).images[:, 0],
            torch.from_numpy(255 * voxels[name][2]),
        )


def test_read_modelnet10_reads_its_own_files(tmp_path):
    content = [
        {"features": objects(n, 0).reshape(-1, 1, SIDE, SIDE, SIDE), "targets": np.arange(n) % 10}
        for n in (30, 10)
    ]
    write(tmp_path, 10, *content)
    found = read_modelnet10(tmp_path)
    assert found.classes == MODELNET10
    assert len(found.splits["train"]) == 30


def test_read_modelnet_without_files_says_how_to_make_them(tmp_path):
    with pytest.raises(DataError) as caught:
        read_modelnet40(tmp_path)
    (line,) = str(caught.value).splitlines()
    for word in (
        *("modelnet40_rot24_train.npz", "modelnet40_rot24_test.npz", str(tmp_path)),
        *("smash data prepare modelnet", "https://modelnet.cs.princeton.edu", "SMASH_DATA"),
    ):
        assert word in line


LABELS = np.arange(30) % 10


@pytest.mark.parametrize(
    ("train", "line"),
    [
        ({"features": objects(30, 0)[:, :23]}, r"Nx1xSxSxS.*got 30x23x5x5x5"),
        ({"features": np.zeros((30, 24, 5, 5, 4), np.uint8)}, r"Nx1xSxSxS.*got 30x24x5x5x4"),
        ({"features": np.zeros((30, 24, 3, 3, 3), np.uint8)}, r"at least 4, got"),
        ({"features": np.zeros((40, 1, 5, 5, 5), np.uint8)}, r"a multiple of 24"),
        ({"features": np.zeros((24, 25), np.uint8)}, r"Nx1xSxSxS.*got 24x25"),
        ({"features": objects(30, 0) * 2}, r"0 or 1, got uint8 from 0 to 2"),
        ({"features": -objects(30, 0).astype(np.int8)}, r"0 or 1, got int8 from -1 to 0"),
        ({"features": objects(30, 0) / 1}, r"0 or 1, got float64"),
        (
            {"targets": LABELS[:29]},
            r"must be 720 integers, .* or 30, one per object",
        ),
        ({"targets": LABELS / 1}, r"got float64 of shape 30"),
        ({"targets": LABELS + 1}, r"must be from 0 to 9, got 1 to 10"),
        ({"targets": np.tile(LABELS, 24)}, r"must follow one another.*from row 0 on"),
        (
            {"targets": LABELS * 0},
            r"class 'bed' must have at least 2 examples, for train, val",
        ),
        ({"targets": None, "classes": LABELS}, r"must have an array 'targets' or 'labels', found"),
    ],
)
def test_read_modelnet_with_other_contents_is_refused(tmp_path, train, line):
    good = {"features": objects(30, 0), "targets": LABELS}
    content = {key: value for key, value in {**good, **train}.items() if value is not None}
    write(tmp_path, 10, content, good)
    with pytest.raises(DataError, match=line):
        read_modelnet10(tmp_path)


def test_read_modelnet_with_faults_in_both_files_reports_all(tmp_path):
    wrong = {"features": objects(10, 0), "targets": LABELS[:10] + 5}
    write(tmp_path, 10, wrong, wrong)
    with pytest.raises(DataError) as caught:
        read_modelnet10(tmp_path)
    assert len(caught.value.faults) == 2
    large = {"features": np.zeros((10, 24, 6, 6, 6), np.uint8), "targets": LABELS[:10]}
    write(tmp_path, 10, {"features": objects(30, 0), "targets": LABELS}, large)
    with pytest.raises(DataError, match="must have voxels of size 5x5x5, like the"):
        read_modelnet10(tmp_path)
