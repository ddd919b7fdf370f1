from pathlib import Path

import numpy as np
import pytest
import torch

from smash.config import LoadSettings
from smash.data import check_data, load_data
from smash.data.sources.series import windows_of
from smash.errors import DataError, InvalidValueError
from smash.run.run import Run
from smash.training.train import begin


def rows(subjects=4, labels=("sit", "walk"), length=40, sessions=1):
    """Rows of a table; channel ``ax`` counts rows, ``ay`` is the number of the subject."""
    number = 0
    for subject in range(subjects):
        for session in range(sessions):
            for label in labels:
                for _ in range(length):
                    yield (f"s{subject}", session, number / 50, number, subject, label)
                    number += 1


HEADER = "subject,session,time,ax,ay,activity"


@pytest.fixture
def write(tmp_path):
    def write(lines, header=HEADER, name="moves.csv", delimiter=","):
        text = [header, *(",".join(map(str, line)) for line in lines)]
        (tmp_path / name).write_text("\n".join(text).replace(",", delimiter), encoding="utf-8")
        return tmp_path / name

    return write


def starts(data):
    """First rows of all windows, by split."""
    return {name: split.images[:, 0, 0].int().tolist() for name, split in data.splits.items()}


@pytest.mark.parametrize(("window", "stride", "count"), [(10, 10, 4), (10, 5, 7), (40, 1, 1)])
def test_windows_are_cut_within_each_label_and_session(write, window, stride, count):
    data = load_data(write(rows()), window=window, stride=stride)
    assert data.classes == ("sit", "walk")
    assert data.task.size == (window,)
    assert data.task.channels == 2
    found = sorted(start for own in starts(data).values() for start in own)
    assert found == [40 * part + stride * k for part in range(8) for k in range(count)]


@pytest.mark.parametrize("name", ["subject", "session"])
def test_windows_never_cross_a_border(write, name):
    table = list(rows(subjects=4, sessions=3, labels=("sit", "walk"), length=25))
    data = load_data(write(table), window=16, stride=1, groups=name if name == "subject" else None)
    for split in data.splits.values():
        for window, label in zip(split.images.int(), split.labels.tolist(), strict=True):
            first, last = table[int(window[0, 0])], table[int(window[0, -1])]
            assert (first[0], first[1], first[5]) == (last[0], last[1], last[5])
            assert data.classes[label] == first[5]


def test_no_subject_is_in_two_splits_and_scaling_is_of_the_training_side(write):
    data = load_data(write(rows(subjects=8)), window=8)
    subjects = {name: set(split.images[:, 1, 0].tolist()) for name, split in data.splits.items()}
    assert not subjects["train"] & (subjects["val"] | subjects["test"])
    assert not subjects["val"] & subjects["test"]
    images = data.train.images.double()
    assert data.mean == pytest.approx(images.mean((0, 2)).tolist())
    assert data.std == pytest.approx(images.std((0, 2), correction=0).tolist())


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_are_found(write, delimiter):
    path = write(rows(), delimiter=delimiter, name="moves.tsv")
    assert load_data(path, window=10).task.channels == 2


def test_columns_are_said_aloud_and_can_be_chosen(write):
    path = write(rows())
    (note,) = (note for note in load_data(path, window=10).notes if note.startswith("channels"))
    assert note == (
        "channels: ax, ay; label: activity; groups: subject; not used: time (--columns, --label, "
        "--groups)"
    )
    data = load_data(path, window=10, columns=("ay",), groups="subject", label="activity")
    assert data.task.channels == 1


@pytest.mark.parametrize(
    ("empty", "value"), [("ax", ""), ("ax", "inf"), ("ax", "1e39"), ("activity", "")]
)
def test_windows_with_gaps_are_left_out_and_counted(write, empty, value):
    table = [list(row) for row in rows()]
    table[15][HEADER.split(",").index(empty)] = value
    notes = load_data(write(table), window=10, stride=10).notes
    assert any(note.startswith("31 windows of 10 rows") for note in notes)
    left_out = any(note.startswith("1 windows left out, in which") for note in notes)
    assert left_out is (empty != "activity")  # the row without a label ends a stretch


def test_run_finds_its_windows_again(write, tmp_path):
    data = load_data(write(rows()), window=10, stride=3, columns=("ax",), label="activity")
    begin(data, tmp_path / "run", preset="tiny", device="cpu")
    assert Run.open(tmp_path / "run").data.settings == data.settings


def test_numeric_labels_are_classes_in_their_order(write):
    path = write(rows(labels=(10, 2)))
    assert load_data(path, window=10).classes == ("2", "10")


FAULTS = {
    "no label": (HEADER.replace("activity", "what"), [], DataError, "column of labels"),
    "no group": ("a,b,time,ax,ay,label", [], DataError, "subjects or sessions"),
    "word": (HEADER, [("s", 0, 0, "high", 0, "sit")], DataError, "a number in 'ax', has 'high'"),
    "short row": (HEADER, [("s", 0)], DataError, "row 322 must have 6 values, has 2"),
    "twice": ("subject,ax,time,ax,ay,label", [], DataError, "has twice: ax"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_table_with_a_fault_is_refused(write, case):
    header, more, kind, pattern = FAULTS[case]
    with pytest.raises(kind, match=pattern):
        load_data(write([*rows(), *more], header=header), window=10)


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"\xff\xfe\x00", b"\n\n\n", b'"a\n'])
def test_file_that_is_no_table_is_refused(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DataError):
        load_data(path)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"label": "mood"}, "label: column 'mood' is not known"),
        ({"columns": ("ax", "az")}, "columns: column 'az' is not known: choose one of"),
        ({"columns": ("ax", "ax")}, "columns must differ, got ax twice"),
        ({"image_size": 8}, "image_size is for folders"),
    ],
)
def test_settings_that_do_not_fit_the_table_are_refused(write, settings, fault):
    with pytest.raises(InvalidValueError, match=fault):
        load_data(write(rows()), **settings)


def test_windows_longer_than_each_stretch_say_so(write):
    with pytest.raises(DataError) as caught:
        load_data(write(rows()), window=41)
    assert [fault.partition(": ")[2] for fault in caught.value.faults] == [
        f"label {label!r} has no window of 41 rows: its longest run has 40; choose --window 40 or "
        "less, or remove its rows"
        for label in ("sit", "walk")
    ]


def test_a_label_without_a_window_is_refused_and_does_not_vanish(write):
    table = list(rows())
    short = [("s9", 0, 0, 0, 0, "fall")] * 7
    with pytest.raises(DataError, match="label 'fall' has no window of 10 rows: its longest run"):
        load_data(write([*table, *short]), window=10)
    with pytest.raises(DataError, match="its longest run has 3; remove its rows"):
        load_data(write([*table, *short[:3]]), window=10)  # no window of 3 rows would be accepted
    gaps = [("s9", 0, 0, "", 0, "fall")] * 12
    with pytest.raises(DataError, match="label 'fall' has no window of 10 rows without missing"):
        load_data(write([*table, *gaps]), window=10)
    unlabelled = [("s9", 0, 0, 0, 0, "")] * 7
    assert load_data(write([*table, *unlabelled]), window=10).classes == ("sit", "walk")


def test_parquet_of_a_time_series_is_cut_as_the_csv(write, tmp_path):
    pytest.importorskip("datasets")
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = list(rows())
    columns = dict(zip(HEADER.split(","), map(list, zip(*table, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "moves.parquet")
    expected = load_data(write(table), window=10)
    found = load_data(tmp_path / "moves.parquet", window=10)
    assert starts(found) == starts(expected)
    assert found.classes == expected.classes


def test_check_data_of_a_time_series_reports_its_windows(write):
    report = check_data(write(rows()), window=10, stride=10)
    assert report.ok
    assert report.sizes == {"10": 32}
    assert any(line.startswith("32 windows of 10 rows every 10") for line in report.notes)


@pytest.mark.parametrize(
    ("shape", "channels", "size"),
    [
        ((20, 6, 128), 6, (128,)),
        ((20, 128, 6), 6, (128,)),
        ((20, 1, 400), 1, (400,)),
        ((20, 28, 28), 1, (28, 28)),
        ((20, 40, 61), 1, (40, 61)),
    ],
)
def test_arrays_of_three_axes_are_signals_where_one_axis_is_long(shape, channels, size):
    values = np.random.default_rng(0).normal(size=shape)
    data = load_data((values, np.arange(20) % 2))
    assert (data.task.channels, data.task.size) == (channels, size)
    (note,) = (note for note in data.notes if note.startswith("data of shape"))
    assert note.endswith(
        "(--dims 2 reads images)" if len(size) == 1 else "(--dims 1 reads signals)"
    )


def test_arrays_of_three_axes_follow_their_settings():
    values, labels = np.zeros((20, 6, 128)), np.arange(20) % 2
    assert load_data((values, labels), dims=2).task.size == (6, 128)
    assert load_data((values, labels), dims=1, channels="last").task.size == (6,)


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "null"])
def test_rows_without_a_subject_are_in_no_split(write, missing):
    table = [list(row) for row in rows(subjects=6)]
    for row in table:
        if row[3] % 40 < 20:
            row[0] = missing
    data = load_data(write(table), window=10, stride=10)
    assert len(set(torch.cat([split.groups for split in data.splits.values()]).tolist())) == 6
    assert all(start % 40 >= 20 for own in starts(data).values() for start in own)
    assert any(
        "windows left out, in which numbers, the label or the group" in note for note in data.notes
    )


@pytest.mark.parametrize("missing", ["NA", "NaN", "N/A", "null", " nan "])
def test_words_for_a_missing_label_are_no_class(write, missing):
    unlabelled = [("s9", 0, 0, 0, 0, missing)] * 20
    assert load_data(write([*rows(), *unlabelled]), window=10).classes == ("sit", "walk")


def test_a_missing_number_in_the_first_row_costs_its_windows_and_not_the_channel(write):
    table = [list(row) for row in rows()]
    table[0][3] = "NA"
    data = load_data(write(table), window=10, stride=10)
    assert data.task.channels == 2
    assert sum(map(len, data.splits.values())) == 31


def test_a_word_in_the_first_row_of_numbers_is_a_fault(write):
    table = [list(row) for row in rows()]
    table[0][3] = "oops"
    with pytest.raises(DataError, match="row 2 must have a number in 'ax', has 'oops'"):
        load_data(write(table), window=10)
    assert load_data(write(table), window=10, columns=("ay",)).task.channels == 1


def test_a_column_of_few_words_is_not_used(write):
    table = [[*row, "slipped" if row[3] == 50 else ""] for row in rows()]
    data = load_data(write(table, header=f"{HEADER},comment"), window=10)
    assert data.task.channels == 2
    assert any("not used: time, comment" in note for note in data.notes)


def test_decimal_commas_are_told(write):
    table = [[str(value).replace(".", ":") for value in row] for row in rows()]
    path = write(table, delimiter=";")
    path.write_text(path.read_text().replace(":", ","))
    with pytest.raises(DataError, match="has '0,0' in 'time': write numbers with a point"):
        load_data(path, window=10)


def test_a_second_column_of_labels_is_no_channel():
    rows_of = 40
    table = {
        "ax": np.arange(4.0 * rows_of),
        "subject": np.repeat(["a", "b", "c", "d"], rows_of),
        "label": np.tile(np.repeat(["sit", "walk"], rows_of // 2), 4),
        "activity": np.tile(np.repeat([0, 1], rows_of // 2), 4),
    }
    source = windows_of(Path("t.parquet"), table, LoadSettings(window=10))
    assert source.splits["train"].stored.shape[1] == 1
