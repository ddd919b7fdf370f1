"""The command line: wrong use is answered in one line a fault, and harms nothing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smash.study.study import Study
from tests.answers import Answer, content

SEARCH = ("--random", "3", "--perturb", "1", "--markov", "1", "--device", "cpu")
TRAIN = "train digits --space memory-bank --preset tiny -o depth=1 --device cpu --epochs 1"


@pytest.fixture
def smash(command):
    return command


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def sources(tmp_path):
    """Data that cannot be learned from, by name."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "empty").mkdir()
    _images(folder / "one-class", {"cat": 20})
    _images(folder / "one-example", {"cat": 20, "dog": 1})
    _images(folder / "unreadable", {"cat": 20, "dog": 20})
    (folder / "unreadable" / "dog" / "3.png").write_bytes(b"not an image")
    _images(folder / "small", {"cat": 20, "dog": 20}, side=3)
    images = np.random.default_rng(0).random((40, 8, 8)).astype(np.float32)
    labels = np.arange(40) % 2
    np.savez(folder / "object.npz", x=images.astype(object), y=labels)
    with_nan = images.copy()
    with_nan[7, 0, 0] = np.nan
    np.savez(folder / "nan.npz", x=with_nan, y=labels)
    np.savez(folder / "labels.npz", x=images, y=labels + 0.5)
    return folder


def _images(folder: Path, classes: dict[str, int], side: int = 8) -> None:
    random = np.random.default_rng(0)
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


def check_refused(answer: Answer, *named: str) -> None:
    assert answer.code == 2, answer
    assert "Traceback" not in answer.err + answer.out
    assert answer.faults, answer.err
    assert all(line.startswith("smash: ") for line in answer.faults), answer.err
    for value in named:
        assert value in "\n".join(answer.faults), answer.err


TRAIN_ROWS = {
    # The data: arguments of train but for --out; what the faults name.
    "unknown data": ("train digit --epochs 1", ("'digit'", "did you mean 'digits'")),
    "path not there": ("train {data}/nowhere --epochs 1", ("nowhere",)),
    "npz not there": ("train {data}/nowhere.npz --epochs 1", ("nowhere.npz",)),
    "empty folder": ("train {data}/empty --epochs 1", ("empty",)),
    "one class": ("train {data}/one-class --epochs 1", ("cat",)),
    "one example": ("train {data}/one-example --epochs 1", ("dog",)),
    "unreadable image": ("train {data}/unreadable --epochs 1", ("3.png",)),
    "small images": ("train {data}/small --epochs 1", ("3", "4")),
    "npz of objects": ("train {data}/object.npz --epochs 1", ("object.npz", "object")),
    "npz with NaN": ("train {data}/nan.npz --epochs 1", ("nan.npz",)),
    "npz with odd labels": ("train {data}/labels.npz --epochs 1", ("labels.npz",)),
    "order of validation": ("train digits --val-order lats", ("'lats'", "did you mean 'last'")),
    # How long.
    "epochs 0": ("train digits --preset tiny --epochs 0", ("epochs", "0")),
    "epochs -1": ("train digits --preset tiny --epochs -1", ("epochs", "-1")),
    "epochs not whole": ("train digits --preset tiny --epochs 1.5", ("epochs", "1.5")),
    "minutes 0": ("train digits --preset tiny --minutes 0", ("minutes", "0")),
    "minutes -1": ("train digits --preset tiny --minutes -1", ("minutes", "-1")),
    "minutes nan": ("train digits --preset tiny --minutes nan", ("minutes", "nan")),
    "both lengths": (f"{TRAIN} --minutes 1", ("epochs", "minutes")),
    "batch size 0": (f"{TRAIN} --batch-size 0", ("batch_size", "0")),
    "learning rate nan": (f"{TRAIN} --learning-rate nan", ("learning_rate", "nan")),
    "weight decay -1": (f"{TRAIN} --weight-decay -1", ("weight_decay", "-1")),
    "snapshots 0": (f"{TRAIN} --snapshots 0", ("snapshots", "0")),
    "seed -1": (f"{TRAIN} --seed -1", ("seed", "-1")),
    # The space.
    "N does not divide": (f"{TRAIN} -o bank_width=5", ("bank_width", "5")),
    "even kernel": (f"{TRAIN} -o max_kernel=4", ("max_kernel", "4")),
    "odd groups": (f"{TRAIN} -o max_groups=3 -o bank_width=8", ("max_groups", "3")),
    "unknown option": (f"{TRAIN} -o depht=3", ("'depht'", "did you mean 'depth'")),
    "malformed option": (f"{TRAIN} -o depth", ("'depth'", "KEY=VALUE")),
    "option nested": (f"{TRAIN} -o width={'[' * 3000}", ("width", "'[[[")),
    "option not a number": (f"{TRAIN} -o width=deep", ("width", "'deep'")),
    "unknown preset": ("train digits --preset tinny --epochs 1", ("'tinny'", "'tiny'")),
    "unknown hypernet": (f"{TRAIN} --hypernet nome", ("'nome'", "'none'")),
    "unknown space": (f"{TRAIN} --space memory", ("'memory'", "memory-bank")),
    "unknown device": ("train digits --preset tiny --epochs 1 --device gpu", ("'gpu'",)),
    # The command line itself.
    "no data": ("train", ("DATA",)),
    "unknown flag": (f"{TRAIN} --epoch 3", ("--epoch",)),
}


@pytest.mark.parametrize(("line", "named"), TRAIN_ROWS.values(), ids=TRAIN_ROWS)
def test_train_refuses_and_makes_nothing(smash, sources, tmp_path, line, named):
    out = tmp_path / "out"
    argv = [part.format(data=sources) for part in line.split()]

    check_refused(smash(*argv, "--out", str(out)), *named)

    assert not out.exists()


RUN_ROWS = {
    "random negative": ("search {run} --random -1", ("random", "-1")),
    "perturb negative": ("search {run} --perturb -2", ("perturb", "-2")),
    "markov negative": ("search {run} --markov -3", ("markov", "-3")),
    "all zero": ("search {run} --random 0 --perturb 0 --markov 0", ("random", "0")),
    "rate 0": ("search {run} --rate 0", ("rate", "0")),
    "rate nan": ("search {run} --rate nan", ("rate", "nan")),
    "rank by": ("search {run} --rank-by acc", ("'acc'",)),
    "examples 0": ("search {run} --examples 0", ("examples", "0")),
    "max params 10": ("search {run} --max-params 10", ("max_params", "10", "smallest")),
    "max macs 0": ("search {run} --max-macs 0", ("max_macs", "0")),
    "search device": ("search {run} --device gpu", ("'gpu'",)),
    "other seed": ("search {run} --seed 1", ("seed", "1")),
    "rank 99": ("retrain {run} --rank 99", ("rank", "99")),
    "rank -1": ("retrain {run} --rank -1", ("rank", "-1")),
    "retrain finalists 0": ("retrain {run} --finalists 0", ("finalists", "0")),
    "retrain finals share -1": ("retrain {run} --finals-share -1", ("finals_share", "-1")),
    "retrain epochs 0": ("retrain {run} --rank 1 --epochs 0", ("epochs", "0")),
    "retrain init": ("retrain {run} --rank 1 --init zero", ("init", "'zero'")),
    "retrain baseline": ("retrain {run} --baseline resnet19", ("'resnet19'", "'resnet18'")),
    "retrain precision": ("retrain {run} --rank 1 --precision fp8", ("precision", "'fp8'")),
    "retrain device": ("retrain {run} --rank 1 --device gpu", ("'gpu'",)),
    "correlate with nothing": ("correlate {run}", ("neither", "table", "train")),
    "correlate minutes 0": ("correlate {run} --minutes 0", ("minutes", "greater than 0", "'0'")),
    "correlate with both": ("correlate {run} --table x.csv --train 3", ("both",)),
    "table not there": ("correlate {run} --table {run}/x.csv --column y", ("x.csv",)),
    "table no column": ("correlate {run} --table {run}/x.csv", ("column", "x.csv")),
    "correlate train 99": ("correlate {run} --train 99", ("train", "99")),
    "correlate train 2": ("correlate {run} --train 2", ("at least 3", "2")),
    "correlate epochs 0": ("correlate {run} --train 3 --epochs 0", ("epochs", "0")),
    "correlate half": ("correlate {run} --train 3 --half first", ("half", "table")),
    "correlate proxy": ("correlate {run} --train 3 --proxy nasvot", ("'nasvot'", "'naswot'")),
    "correlate rank by": ("correlate {run} --train 3 --rank-by acc", ("'acc'",)),
    "show top 0": ("show {run} --top 0", ("top", "0")),
    "show a child": ("show {child}", ("is not a run",)),
    "not a run": ("search {run}/children", ("children", "is not a run")),
    "run not there": ("search {run}/nowhere", ("nowhere", "smash train")),
    "bad split": ("evaluate {child} --split tset", ("'tset'", "train, val, test")),
    "not a child": ("evaluate {run}", ("{run}",)),
    "child not there": ("evaluate {child}-x", ("{child}-x",)),
    "existing out": (TRAIN + " --out {run}", ("{run}", "already exists", "--resume")),
    "no data": ("train --out {run}-new", ("DATA is missing",)),
    "resume with a seed": (TRAIN + " --out {run} --resume --seed 7", ("seed", "7")),
    "unknown command": ("serch {run}", ("serch",)),
    "missing argument": ("search", ("RUN",)),
    "missing child": ("evaluate", ("CHILD",)),
}


@pytest.mark.parametrize(("line", "named"), RUN_ROWS.values(), ids=RUN_ROWS)
def test_a_run_is_left_as_it_was(smash, run, line, named):
    (child,) = (run / "children").iterdir()
    argv = [part.format(run=run, child=child) for part in line.split()]
    if argv[0] == "search" and not {"--random", "--perturb", "--markov"} & set(argv):
        argv = [*argv[:2], *SEARCH[:6], *argv[2:]]
    before = content(run)

    check_refused(smash(*argv), *(value.format(run=run, child=child) for value in named))

    assert content(run) == before


def _unfinished(run: Path) -> None:
    (run / "network.safetensors").unlink()


def _other_config(run: Path) -> None:
    (run / "config.toml").write_text("seed = [\n")


def _odd_config(run: Path) -> None:
    path = run / "config.toml"
    path.write_text(path.read_text() + "\n[extra]\nx = 1\n")


def _truncated(run: Path) -> None:
    path = run / "network.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _no_network_bytes(run: Path) -> None:
    (run / "network.safetensors").write_bytes(b"")


def _garbled_study(run: Path) -> None:
    (run / "study.journal").write_text("not a journal\n")


DAMAGE_ROWS = {
    "unfinished": (_unfinished, "search {run} --seed 0", ("has not finished", "--resume")),
    "config not TOML": (_other_config, "search {run}", ("config.toml",)),
    "config with more": (_odd_config, "show {run}", ("config.toml", "'extra'")),
    "truncated network": (_truncated, "search {run}", ("network.safetensors",)),
    "empty network": (_no_network_bytes, "search {run}", ("network.safetensors",)),
    "garbled study": (_garbled_study, "show {run}", ("study.journal",)),
}


@pytest.mark.parametrize(("damage", "line", "named"), DAMAGE_ROWS.values(), ids=DAMAGE_ROWS)
def test_a_damaged_run_is_named_and_left_as_it_was(smash, run, damage, line, named):
    damage(run)
    argv = line.format(run=run).split()
    if argv[0] == "search":
        argv += ["--random", "4", *SEARCH[2:]]  # more than was done: the network is needed
    before = content(run)

    check_refused(smash(*argv), *named)

    assert content(run) == before


def test_all_faults_of_one_input_are_reported_together(smash, tmp_path):
    answer = smash(
        *TRAIN.split(), "-o", "max_kernel=4", "-o", "max_groups=3", "--out", str(tmp_path / "out")
    )

    check_refused(answer)
    assert sum("max_kernel" in line and "4" in line for line in answer.faults) == 1
    assert sum("max_groups" in line and "3" in line for line in answer.faults) == 1
    assert len(answer.faults) == 2


def test_all_faults_of_a_training_are_told_before_its_data_is_loaded(smash, tmp_path):
    line = "train digits --epochs 0 --batch-size 1 --learning-rate -1 --preset smal --seed -1"
    answer = smash(*line.split(), "--device", "gpu", "--out", str(tmp_path / "out"))

    check_refused(answer)
    words = ("epochs", "batch_size", "learning_rate", "'smal'", "seed", "'gpu'")
    assert len(answer.faults) == len(words)
    assert all(any(word in fault for fault in answer.faults) for word in words)
    assert "training" not in answer.err  # nothing was loaded that could be described


EARLY_ROWS = {
    "search": (
        "search {run} --prior synflo --strategy gradent --max-latency 5 --prefilter naswot:2 "
        "--device gpu --storage sqlite:///x --max-params 0 --ray nowhere --rate 2",
        (
            *("'synflow'", "'gradient'", "max_latency", "share of a prefilter", "device 'gpu'"),
            *("storage", "max_params", "ray", "rate"),
        ),
    ),
    "several objectives": (
        "search {run} --objectives error,parms --precision fp8 --device gpu",
        ("'params'", "precision", "device"),
    ),
    "correlate, trained": (
        "correlate {run} --train 3 --epochs 0 --proxy nasvot --prior macz --device gpu --ray x",
        ("epochs", "'naswot'", "'macs'", "device", "ray"),
    ),
    "correlate with a table": (
        "correlate {run} --table x.csv --column y --half third --limit 0 --examples 0",
        ("half", "limit", "examples"),
    ),
    "a table that is not there": ("correlate {run} --table x.csv --column y", ("x.csv",)),
    "retrain": (
        "retrain {run} --epochs 0 --init zero --device gpu --name a/b",
        ("epochs", "init", "device", "a/b"),
    ),
    "a reference network": (
        "retrain {run} --baseline resnet19 --epochs 0",
        ("'resnet18'", "epochs"),
    ),
    "several children": (
        "retrain {run} --ranks 0-1 --ray nowhere --epochs 0 --device gpu",
        ("epochs", "device", "ray"),
    ),
}


@pytest.mark.parametrize(("line", "named"), EARLY_ROWS.values(), ids=EARLY_ROWS)
def test_all_wrong_options_are_told_before_data_is_opened(smash, run, line, named):
    config = run / "config.toml"
    config.write_text(config.read_text().replace('"digits"', '"/nowhere/data"'))
    answer = smash(*line.format(run=run).split())

    check_refused(answer)
    assert len(answer.faults) == len(named)
    assert all(any(word in fault for fault in answer.faults) for word in named)

    answer = smash("search", str(run), "--random", "9", "--device", "cpu")
    assert "/nowhere/data" in answer.faults[0]  # which it would be told of


@pytest.mark.parametrize("option", ["depths=NaN", "depths=0", "dephts=3"])
def test_options_that_no_preset_takes_are_told_before_data_is_opened(smash, tmp_path, option):
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    check_refused(smash("train", str(empty), "-o", option, "--out", str(out)), "depth")
    taken = smash("train", str(empty), "-o", "depths=3", "--out", str(out))
    check_refused(taken, str(empty))  # of which it is told now
    assert not out.exists()


def test_a_finished_search_repeated_changes_nothing_and_a_larger_one_extends_it(smash, run):
    journal = run / "study.journal"
    before = Study(journal).candidates()
    kept = journal.read_bytes()

    assert smash("search", str(run), *SEARCH).code == 0

    assert Study(journal).candidates() == before
    assert journal.read_bytes() == kept

    assert smash("search", str(run), "--random", "5", *SEARCH[2:]).code == 0

    after = Study(journal).candidates()
    assert after[: len(before)] == before
    assert sum(one.strategy == "random" for one in after) == 5


def test_show_json_is_a_list_of_ranked_candidates(smash, run):
    answer = smash("show", str(run), "--json")

    assert answer.code == 0
    shown = json.loads(answer.out)
    keys = {"id", "rank", "error", "loss", "params", "macs", "memory", "flash", "strategy"}
    keys |= {"partial", "top5_error", "ensemble_error", "examples", "latency"}
    keys |= {"score_rank", "proxy_rank", "pareto", "child_time", "graph_time"}
    assert shown
    assert all(one.keys() == keys for one in shown)
    assert [one["rank"] for one in shown] == list(range(len(shown)))


def photos(folder: Path, sizes: dict[str, int]) -> Path:
    """A folder of classes with so many random photos each."""
    rng = np.random.default_rng(0)
    for name, count in sizes.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_data_check_tells_what_is_there(smash, tmp_path):
    folder = photos(tmp_path / "photos", {"cat": 6, "dog": 12})
    answer = smash("data", "check", str(folder))
    assert answer.code == 0
    assert "train: 13 examples of 2 classes (cat 4, dog 9)" in answer.out
    report = json.loads(smash("data", "check", str(folder), "--json").out)
    assert report["splits"]["test"] == {"cat": 1, "dog": 2}
    assert report["imbalance"] == 9 / 4
    assert report["ok"] is True


def test_data_check_takes_the_data_options_of_train(smash, tmp_path):
    folder = photos(tmp_path / "photos", {"cat": 20, "dog": 20})
    flags = ("--image-size", "6", "--val-fraction", "0.4", "--group-pattern", r"/\d")
    report = json.loads(smash("data", "check", str(folder), *flags, "--json").out)
    assert sum(report["splits"]["val"].values()) > 9
    assert any("images resized to 6x6" in note for note in report["notes"])
    assert any(note.startswith("groups: ") for note in report["notes"])
    check_refused(smash("data", "check", "digits", "--dims", "2"), "dims is for .npz files")


@pytest.mark.parametrize("line", ["train {odd} --out {out}", "train {inside} --out {out}",
                                  "train digits --out {odd}-run", "data check {odd}"])  # fmt: skip
def test_names_that_are_not_utf8_are_refused(smash, tmp_path, line):
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    photos(odd, {"cat": 3, "dog": 3})
    inside = tmp_path / "inside"
    photos(inside, {"cat": 3, os.fsdecode(b"caf\xe9"): 3})
    places = {"odd": odd, "inside": inside, "out": tmp_path / "out"}
    answer = smash(*line.format(**places).split())
    check_refused(answer, r"caf\udce9", "UTF-8")
    assert not (tmp_path / "out").exists()


def test_data_check_tells_all_that_is_wrong_and_exits_2(smash, tmp_path):
    folder = photos(tmp_path / "photos", {"cat": 6, "dog": 1})
    (folder / "cat" / "broken.png").write_bytes(b"no image")
    shutil.copy(folder / "cat" / "0.png", folder / "cat" / "again.png")
    answer = smash("data", "check", str(folder))
    assert answer.code == 2
    faults = [line for line in answer.out.splitlines() if line.startswith("fault: ")]
    assert any("broken.png" in fault for fault in faults)
    assert any("'dog'" in fault for fault in faults)
    assert "again.png" in answer.out  # a warning: the same picture twice


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("data check {missing}", ("nowhere",)),
        (
            "data prepare modelnett {missing} --out {out}",
            ("'modelnett'", "did you mean 'modelnet'"),
        ),
        ("data prepare modelnet {missing} --out {out}", ("nowhere",)),
    ],
)
def test_data_commands_refuse_in_a_line(smash, tmp_path, line, named):
    places = {"missing": tmp_path / "nowhere", "out": tmp_path / "out"}
    check_refused(smash(*line.format(**places).split()), *named)
    assert not (tmp_path / "out").exists()
