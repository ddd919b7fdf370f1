"""Cuts in whole groups, from every source that may have groups."""

from __future__ import annotations

import io
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from smash.data import Data, Split, check_data, load_data
from smash.data.splits import check_groups, cut
from smash.errors import DataError, InvalidValueError

RNG = np.random.default_rng(0)


def groups_of(data: Data) -> dict[str, set[int]]:
    """The groups of each split."""
    found = {}
    for name, split in data.splits.items():
        assert split.groups is not None
        assert len(split.groups) == len(split)
        found[name] = set(split.groups.tolist())
    return found


def check_disjoint(data: Data) -> None:
    for first, second in combinations(groups_of(data).values(), 2):
        assert not first & second


def grouped(labels: list[int], groups: list[int]) -> Split:
    images = torch.arange(len(labels))[:, None, None]
    return Split(images, torch.tensor(labels), groups=torch.tensor(groups))


def test_cut_takes_whole_groups_and_the_share_of_each_class():
    labels = [number % 2 for number in range(400)]
    groups = [number // 10 for number in range(400)]
    rest, part = cut(grouped(labels, groups), 0.15, seed=1, keep=1)
    assert rest.groups is not None
    assert part.groups is not None
    assert not set(rest.groups.tolist()) & set(part.groups.tolist())
    assert torch.bincount(part.labels).tolist() == [30, 30]
    assert torch.cat([rest.images, part.images]).flatten().sort().values.tolist() == [*range(400)]


def test_cut_of_groups_of_one_class_each_takes_one_of_each_class():
    rest, part = cut(grouped([0, 0, 0, 0, 1, 1, 1], [5, 5, 6, 6, 7, 8, 8]), 0.1, seed=0, keep=1)
    assert sorted(set(part.labels.tolist())) == sorted(set(rest.labels.tolist())) == [0, 1]


@settings(max_examples=100)
@given(st.data())
def test_cut_of_any_groups_is_disjoint_and_complete_or_refused(data):
    n_groups = data.draw(st.integers(2, 12))
    members = st.tuples(st.integers(0, n_groups - 1), st.integers(0, 2))
    examples = data.draw(st.lists(members, min_size=6, max_size=60))
    labels = [label for _, label in examples]
    labels = np.unique(labels, return_inverse=True)[1].reshape(-1).tolist()
    split = grouped(labels, [group for group, _ in examples])
    fraction = data.draw(st.sampled_from([0.1, 0.3, 0.5]))
    classes = tuple(map(str, range(max(labels) + 1)))
    try:
        check_groups(classes, split, ["val"])
        rest, part = cut(split, fraction, seed=data.draw(st.integers(0, 9)), keep=1)
    except DataError:
        return
    assert rest.groups is not None
    assert part.groups is not None
    assert not set(rest.groups.tolist()) & set(part.groups.tolist())
    assert len(rest) + len(part) == len(split)
    for side in (rest, part):
        assert set(side.labels.tolist()) == set(labels)


def test_check_groups_names_classes_of_too_few_groups():
    split = grouped([0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 3, 4])
    check_groups(("a", "b"), split, ["val"])
    with pytest.raises(DataError) as caught:
        check_groups(("a", "b"), split, ["test", "val"])
    (fault,) = caught.value.faults
    assert "class 'b' must have examples of at least 3 groups" in fault
    assert "has 2" in fault


def arrays(n: int = 120, speakers: int = 8) -> dict[str, np.ndarray]:
    return {
        "data": RNG.random((n, 16)),
        "labels": np.arange(n) % 2,
        "groups": np.array([f"speaker {number}" for number in np.arange(n) // 2 % speakers]),
    }


def test_load_data_of_an_archive_with_groups_keeps_each_in_one_split(tmp_path):
    np.savez(tmp_path / "data.npz", **arrays())
    data = load_data(tmp_path / "data.npz")
    check_disjoint(data)
    assert [len(own) for own in groups_of(data).values()] == [6, 1, 1]
    assert "groups: 6 in train, 1 in val, 1 in test" in data.notes
    assert any("stratified, in whole groups" in note for note in data.notes)


def test_load_data_with_a_group_in_two_splits_has_a_note():
    test = {"test_data": RNG.random((4, 16)), "test_labels": np.array([0, 1, 0, 1])}
    test["test_groups"] = np.array(["speaker 0", "speaker 0", "new", "new"])
    data = load_data({**arrays(), **test})
    assert any("1 in " in note and "in two splits" in note for note in data.notes)


def photos_of(root: Path, groups: str, classes: str = "ab", split: str = ".") -> Path:
    """Two smooth photographs of each group in each class, named after the group."""
    for group in groups:
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(2):
                small = RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)
                image = Image.fromarray(small).resize((48, 48), Image.Resampling.BICUBIC)
                image.save(folder / f"{group}-{number}.png")
    return root


def leaks_in(root: Path) -> list[str]:
    report = check_data(root, group_pattern="([a-z])-")
    return [
        line
        for line in (*report.notes, *report.warnings)
        if "two splits" in line or "same example" in line or "look like one in" in line
    ]


def test_check_data_of_a_split_by_group_without_a_leak_finds_none(tmp_path):
    assert leaks_in(photos_of(tmp_path, "klmnop")) == []


@pytest.mark.parametrize("leak", ["copy", "shift", "recompressed"])
def test_check_data_of_a_split_by_group_finds_a_planted_leak(tmp_path, leak):
    root = photos_of(tmp_path, "klmnop")
    data = load_data(root, group_pattern="([a-z])-")
    assert data.test.groups is not None
    assert data.train.groups is not None
    tested, trained = ("klmnop"[int(split.groups[0])] for split in (data.test, data.train))
    image = Image.open(root / "a" / f"{tested}-0.png")
    path = root / "a" / f"{trained}-1.png"  # the cut stays, as no example is added
    if leak == "copy":
        image.save(path)
    elif leak == "shift":
        Image.fromarray(np.roll(np.asarray(image), 2, 1)).save(path)
    else:
        image.save(path, "JPEG", quality=80)
    assert any(f"{trained}-1.png" in line for line in leaks_in(root))


@pytest.mark.parametrize("shared", ["k", "kl", "klmn"])
def test_check_data_of_given_splits_finds_groups_in_two(tmp_path, shared):
    photos_of(tmp_path, "klmn", split="train")
    photos_of(tmp_path, shared + "x", split="test")
    lines = leaks_in(tmp_path)
    assert any("groups are in two splits, which flatters the error" in line for line in lines)


def test_fingerprint_with_groups_that_move_examples_changes():
    plain, own = arrays(), arrays()
    del plain["groups"]
    plain["data"] = own["data"]
    assert load_data(plain).settings.fingerprint != load_data(own).settings.fingerprint


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"groups": np.arange(7)}, "groups must have shape 120, one per example, got shape 7"),
        (
            {"groups": np.arange(120) / 2},
            "groups must be whole numbers or words, got dtype f",
        ),
        ({"groups": np.zeros(120, int)}, "class '0' must have examples of at least 3 groups"),
    ],
)
def test_load_data_with_unfit_groups_is_refused(changes, line):
    with pytest.raises(DataError) as caught:
        load_data({**arrays(), **changes})
    assert line in caught.value.faults[0]


def test_load_data_with_groups_and_val_order_last_is_refused():
    with pytest.raises(InvalidValueError, match="val_order must be 'stratified' for data with"):
        load_data(arrays(), val_order="last")


def photos(folder: Path, names: list[str]) -> Path:
    """Images under names such as ``class/patient_3.png``."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return folder


FRAMES = [
    f"{label}/clip{clip}_{frame}.png" for label in "ab" for clip in range(6) for frame in "0123"
]


def test_load_data_with_a_group_pattern_groups_by_name(tmp_path):
    folder = photos(tmp_path / "photos", FRAMES)
    data = load_data(folder, group_pattern=r"(clip\d+)_")
    check_disjoint(data)
    assert sum(len(own) for own in groups_of(data).values()) == 6
    with pytest.raises(DataError, match=r"a/clip0_0\.png has no group: change the pattern 'clop'"):
        load_data(folder, group_pattern="clop")
    with pytest.raises(InvalidValueError, match="group_pattern '\\(' must be a regex"):
        load_data(folder, group_pattern="(")


def test_load_data_of_names_like_sequences_has_a_note(tmp_path):
    folder = photos(tmp_path / "photos", FRAMES)
    (note,) = (note for note in load_data(folder).notes if "sequences" in note)
    assert "look like 6 sequences, such as 'clip0'" in note
    plain = photos(tmp_path / "plain", [f"{label}/{n:03}.png" for label in "ab" for n in range(9)])
    assert not any("sequences" in note for note in load_data(plain).notes)


def test_load_data_with_a_csv_of_groups_takes_them(tmp_path):
    folder = photos(tmp_path / "photos", FRAMES)
    table = tmp_path / "groups.csv"
    rows = [f"{name},{number % 5}" for number, name in enumerate(FRAMES)]
    table.write_text("\n".join(["file,group", *rows]))
    data = load_data(folder, groups=table)
    check_disjoint(data)
    assert sum(len(own) for own in groups_of(data).values()) == 5
    assert data.settings.groups == str(table)
    table.write_text("\n".join(rows[1:]))
    with pytest.raises(DataError, match=r"a/clip0_0\.png has no group: add it to .*groups\.csv"):
        load_data(folder, groups=table)
    table.write_text("a/clip0_0.png\n")
    with pytest.raises(DataError, match="must have two columns, file and group, has 1 in row 1"):
        load_data(folder, groups=table)
    with pytest.raises(InvalidValueError, match=r"groups 'nowhere\.csv' must be a CSV"):
        load_data(folder, groups="nowhere.csv")


def test_load_data_with_folders_in_class_folders_groups_by_them(tmp_path):
    names = [f"{label}/speaker{s}/{n}.png" for label in "ab" for s in range(4) for n in range(3)]
    folder = photos(tmp_path / "photos", names)
    data = load_data(folder, groups="folders")
    check_disjoint(data)
    assert sum(map(len, data.splits.values())) == 24
    photos(folder, ["a/loose.png"])
    with pytest.raises(DataError, match=r"a/loose\.png has no group: put it into a folder inside"):
        load_data(folder, groups="folders")


def test_load_data_with_a_column_of_groups_takes_it(tmp_path):
    datasets = pytest.importorskip("datasets")
    import pyarrow as pa
    import pyarrow.parquet as pq

    datasets.disable_progress_bars()
    content = []
    for _ in range(40):
        file = io.BytesIO()
        Image.fromarray(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, "PNG")
        content.append({"bytes": file.getvalue(), "path": None})
    columns = {
        "image": content,
        "label": ["no", "yes"] * 20,
        "patient": [n // 8 for n in range(40)],
    }
    pq.write_table(pa.table(columns), tmp_path / "data.parquet")
    data = load_data(tmp_path / "data.parquet", groups="patient")
    check_disjoint(data)
    assert sum(len(own) for own in groups_of(data).values()) == 5
    with pytest.raises(InvalidValueError, match="column 'patent' is not known: did you mean 'pati"):
        load_data(tmp_path / "data.parquet", groups="patent")


@pytest.mark.parametrize("setting", [{"groups": "x"}, {"group_pattern": "x"}])
def test_load_data_of_sources_without_groups_refuses_them(setting):
    with pytest.raises(InvalidValueError, match="leave it out for 'digits'"):
        load_data("digits", **setting)
