import io
import json
import re
import sys
import tracemalloc
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from smash.data import Split, load_data
from smash.errors import DataError, MissingExtraError

RNG = np.random.default_rng(0)
NAMES = ["cat", "dog"]
FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=NAMES),
        "id": datasets.Value("int64"),
    }
)


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets.disable_progress_bars()


def pixels(n: int) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (n, 6, 8, 3), dtype=np.uint8)


def table(images: NDArray[np.uint8]) -> datasets.Dataset:
    n = len(images)
    columns = {
        "image": [Image.fromarray(image) for image in images],
        "label": [i % 2 for i in range(n)],
        "id": list(range(n)),
    }
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def write_parquet(path, images, labels, kind=None, label="label"):
    content = [png(image) for image in images]
    column = content if kind == "bytes" else [{"bytes": c, "path": None} for c in content]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": column, label: labels}), path, row_group_size=4)


def in_order(split: Split) -> NDArray[Any]:
    pixels: NDArray[Any] = split.images.permute(0, 2, 3, 1).numpy()
    return pixels


def test_load_data_of_a_saved_data_set_takes_its_splits(tmp_path):
    train, val, test = pixels(12), pixels(4), pixels(6)
    parts = {"test": table(test), "train": table(train), "validation": table(val)}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    data = load_data(tmp_path / "saved")
    assert data.classes == ("cat", "dog")
    for split, expected in ((data.train, train), (data.val, val), (data.test, test)):
        np.testing.assert_array_equal(in_order(split), expected)
        assert split.labels.tolist() == [i % 2 for i in range(len(expected))]
    again = load_data(str(tmp_path / "saved"))
    assert again.settings.fingerprint == data.settings.fingerprint


def test_load_data_of_a_split_in_several_files_joins_them(tmp_path):
    images = pixels(40)
    table(images).save_to_disk(str(tmp_path / "saved"), num_shards=3)
    data = load_data(tmp_path / "saved", image_size=5)
    assert data.task.size == (5, 5)
    assert [len(split) for split in (data.train, data.val, data.test)] == [30, 4, 6]


def test_load_data_of_parquet_equals_the_saved_data_set(tmp_path):
    rows = table(pixels(12))
    (tmp_path / "data").mkdir()
    rows.to_parquet(str(tmp_path / "data" / "train-00000-of-00001.parquet"))
    rows.save_to_disk(str(tmp_path / "saved"))
    parquet, saved = load_data(tmp_path), load_data(tmp_path / "saved")
    assert parquet.classes == ("cat", "dog")
    assert parquet.settings.fingerprint == saved.settings.fingerprint


@pytest.mark.parametrize("name", ["{}-0", "{}", "photos_{}", "Photos.{}-00000-of-00001"])
def test_load_data_of_parquet_finds_the_split_in_any_name(tmp_path, name):
    for split, count in (("Train", 30), ("Test", 6)):
        table(pixels(count)).to_parquet(str(tmp_path / f"{name.format(split)}.parquet"))
    assert len(load_data(tmp_path).test) == 6


@pytest.mark.parametrize("kind", ["bytes", "struct"])
def test_load_data_of_parquet_of_another_writer_reads_it(tmp_path, kind):
    train, test = pixels(20), pixels(4)
    write_parquet(tmp_path / "train-0.parquet", train[:9], ["no", "yes"] * 4 + ["no"], kind)
    write_parquet(tmp_path / "train-1.parquet", train[9:], ["yes", "no"] * 5 + ["yes"], kind)
    write_parquet(tmp_path / "test.parquet", test, ["yes", "yes", "no", "no"], kind)
    data = load_data(tmp_path)
    assert data.classes == ("no", "yes")
    assert data.test.labels.tolist() == [1, 1, 0, 0]
    np.testing.assert_array_equal(in_order(data.test), test)
    rows = np.concatenate([in_order(data.train), in_order(data.val)])
    assert sorted(row.tobytes() for row in rows) == sorted(image.tobytes() for image in train)


def test_load_data_of_one_parquet_file_cuts_splits(tmp_path):
    write_parquet(tmp_path / "mine.parquet", pixels(20), [0, 1, 2, 1, 0] * 4, label="class")
    data = load_data(tmp_path / "mine.parquet")
    assert data.classes == ("0", "1", "2")
    assert data.augmentation.flip


def two_labels(path):
    columns = {"image": [png(image) for image in pixels(4)], "label": [0] * 4, "class": [0] * 4}
    pq.write_table(pa.table(columns), path)


def damaged_image(path):
    content = [png(image) for image in pixels(8)]
    content[3] = content[3][:40]
    pq.write_table(pa.table({"image": content, "label": [0, 1] * 4}), path)


def a_path(path):
    Image.fromarray(pixels(1)[0]).save(path.parent / "secret.png")
    rows = [{"bytes": None, "path": str(path.parent / "secret.png")}] * 8
    pq.write_table(pa.table({"image": rows, "label": [0, 1] * 4}), path)


FAULTS = {
    "no images": (
        lambda path: pq.write_table(pa.table({"x": [1.0], "label": [0]}), path),
        [r"must have a column of subjects or sessions .*, found x, label: name it with --groups"],
    ),
    "nothing": (
        lambda path: pq.write_table(pa.table({"x": [1.0]}), path),
        [r"a column of labels, found x: name it", r"a column of subjects or sessions"],
    ),
    "two labels": (two_labels, [r"one column of labels, found 'label', 'class' among"]),
    "no label": (
        lambda path: write_parquet(path, pixels(4), [0, None, 1, 0]),
        [r"row 1 of the train split has no 'label'"],
    ),
    "negative label": (
        lambda path: write_parquet(path, pixels(4), [0, -1, 1, 0]),
        [r"labels must be at least 0, got -1"],
    ),
    "number labels": (
        lambda path: write_parquet(path, pixels(4), [0.5] * 4),
        [r"labels must be integers, got dtype float64"],
    ),
    "rare class": (
        lambda path: write_parquet(path, pixels(4), ["a", "a", "a", "b"]),
        [r"class 'b' must have at least 3"],
    ),
    "no parquet": (lambda path: path.write_text("PAR1"), [r"cannot be read as a table \(.*\)"]),
    "damaged image": (damaged_image, [r"^row 3 of the train split cannot be used"]),
    "a path": (a_path, [r"^8 files cannot be used .* a path alone is not followed"]),
}


@pytest.mark.parametrize("case", FAULTS)
def test_load_data_of_a_wrong_table_reports_all_faults(tmp_path, case):
    make, patterns = FAULTS[case]
    path = tmp_path / "table.parquet"
    make(path)
    with pytest.raises(DataError) as caught:
        load_data(path)
    assert len(caught.value.faults) == len(patterns)
    for pattern, fault in zip(patterns, caught.value.faults, strict=True):
        assert re.search(pattern, fault), fault


def test_load_data_of_parquet_without_datasets_names_the_extra(tmp_path, monkeypatch):
    write_parquet(tmp_path / "mine.parquet", pixels(20), [0, 1] * 10)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'smash-nas\[hf\]'"):
        load_data(tmp_path / "mine.parquet")


def test_load_data_of_parquet_without_train_is_refused(tmp_path):
    write_parquet(tmp_path / "test-0.parquet", pixels(4), [0, 1] * 2)
    with pytest.raises(DataError, match="must have a train split, has test: add it"):
        load_data(tmp_path)


@pytest.mark.parametrize("name", ["../outside.arrow", "/etc/passwd", "a/b.arrow", "", 3])
def test_load_data_of_a_data_set_with_files_elsewhere_is_refused(tmp_path, name):
    table(pixels(6)).save_to_disk(str(tmp_path / "saved"))
    path = tmp_path / "saved" / "state.json"
    state = json.loads(path.read_text())
    state["_data_files"][0]["filename"] = name
    path.write_text(json.dumps(state))
    with pytest.raises(DataError, match="must name files of its own folder"):
        load_data(tmp_path / "saved")


def test_load_data_of_a_data_set_with_splits_elsewhere_is_refused(tmp_path):
    datasets.DatasetDict({"train": table(pixels(6))}).save_to_disk(str(tmp_path / "saved"))
    path = tmp_path / "saved" / "dataset_dict.json"
    path.write_text(json.dumps({"splits": ["train", "../train"]}))
    with pytest.raises(DataError, match=r"must name files of its own folder, names '\.\./train'"):
        load_data(tmp_path / "saved")


def _offset(saved):
    """Lets an image lie 2 GB behind the end of the file."""
    (path,) = saved.glob("*.arrow")
    rows = datasets.load_from_disk(str(saved)).with_format("arrow")[:]["image"].to_pylist()
    ends = np.cumsum([0, *(len(row["bytes"]) for row in rows)]).astype(np.int32)
    wrong = ends.copy()
    wrong[2] = 2**31 - 1
    assert path.read_bytes().count(ends.tobytes()) == 1
    path.write_bytes(path.read_bytes().replace(ends.tobytes(), wrong.tobytes()))


def _says(name, **said):
    def damage(saved):
        path = saved / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **said}))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        _offset,
        _says("state.json", _split=[1]),
        _says("state.json", _data_files=[]),
        _says("state.json", _data_files=[{"filename": "nowhere.arrow"}]),
        _says("dataset_info.json", features="image"),
        _says("dataset_info.json", features={"image": 1}),
    ],
)
def test_load_data_of_a_damaged_data_set_is_refused(tmp_path, damage):
    table(pixels(6)).save_to_disk(str(tmp_path / "saved"))
    damage(tmp_path / "saved")
    with pytest.raises(DataError, match=r"cannot be read as a table \(.+\): save it again"):
        load_data(tmp_path / "saved")


@pytest.mark.parametrize("label", ["x" * 1_000_000, ["x"] * 100_000])
def test_load_data_with_labels_without_bound_is_refused(tmp_path, label):
    path = tmp_path / "table.parquet"
    column = [{"bytes": png(image), "path": None} for image in pixels(100)]
    pq.write_table(pa.table({"image": column, "label": [label] * 100}), path)
    assert path.stat().st_size < 400_000
    tracemalloc.start()
    with pytest.raises(DataError, match=r"column 'label' must (hold|unpack)"):
        load_data(path)
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_load_data_with_many_columns_keeps_its_message_short(tmp_path):
    columns = {f"column {number}": [1, 2] for number in range(5000)}
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    with pytest.raises(DataError) as caught:
        load_data(tmp_path / "table.parquet")
    assert len(str(caught.value)) < 1000
