from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import smash
from smash.config import ChildSettings
from smash.correlation.ground_truth import (
    GroundTruth,
    audit_cut,
    part_of,
    read_table,
    stratified_sample,
    train_sample,
)
from smash.data import Split
from smash.errors import DataError, InvalidValueError, NotFoundError
from smash.evaluation import evaluate
from smash.io.tensors import load_tensors
from smash.spaces import PRESETS, MemoryBankSpace, NasBench201Space
from smash.spaces.nas_bench_201 import NasBench201Options
from smash.study.candidate import Candidate
from smash.study.study import Study
from tests.study.candidates import make_candidate

CELLS = NasBench201Space()
FIRST = "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
SECOND = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"


def table(tmp_path, *lines: str, head: str = "architecture,accuracy"):
    path = tmp_path / "table.csv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def test_read_table_gives_architectures_and_accuracies(tmp_path):
    path = table(tmp_path, f"{FIRST},1,90.5", f"{SECOND},2,-3e1", head="architecture,x,accuracy")
    known = read_table(path, "accuracy", CELLS)
    assert [(str(one.architecture), one.accuracy) for one in known] == [
        (FIRST, 90.5),
        (SECOND, -30),
    ]
    assert [one.id for one in known] == [CELLS.identify(one.architecture) for one in known]


def test_read_table_of_memory_banks_parses_json(tmp_path):
    space = MemoryBankSpace(PRESETS["tiny"])
    architecture = space.sample(np.random.default_rng(0))
    text = json.dumps(space.to_json(architecture)).replace('"', '""')
    (one,) = read_table(table(tmp_path, f'"{text}",0.5'), "accuracy", space)
    assert one.architecture == architecture


def test_read_table_with_faults_reports_all_with_their_lines(tmp_path):
    path = table(
        tmp_path,
        f"{FIRST},90",
        "|none~0|,91",
        f"{SECOND},high",
        f"{FIRST},92",
        f"{SECOND.replace('none', 'skip_conect')},nan",
        f"{SECOND.replace('none', 'avg_pool_3x3')},",
        f"{SECOND.replace('none', 'nor_conv_1x1')},9_1",
    )
    with pytest.raises(DataError) as error:
        read_table(path, "accuracy", CELLS)
    faults = "\n".join(error.value.faults)
    assert "line 3: cell '|none~0|' must have the form" in faults
    assert "line 4: accuracy must be a finite number, got 'high'" in faults
    assert "line 5: line 2 has the same architecture" in faults
    assert "line 6: accuracy must be a finite number, got 'nan'" in faults
    assert "line 6: operation 'skip_conect' is not known: did you mean 'skip_connect'?" in faults
    assert "line 7: accuracy must be a finite number, got ''" in faults
    assert "line 8: accuracy must be a finite number, got '9_1'" in faults
    assert "line 2:" not in faults


def test_read_table_with_many_faults_reports_the_first(tmp_path):
    with pytest.raises(DataError) as error:
        read_table(table(tmp_path, *[f"{FIRST[:-1]},1"] * 30), "accuracy", CELLS)
    assert len(error.value.faults) == 11
    assert error.value.faults[-1] == "and 20 more"


def test_read_table_of_other_files_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match="nowhere"):
        read_table(tmp_path / "nowhere.csv", "accuracy", CELLS)
    path = table(tmp_path, f"{FIRST},1")
    with pytest.raises(DataError, match="'acuracy' is not known: did you mean 'accuracy'"):
        read_table(path, "acuracy", CELLS)
    with pytest.raises(DataError, match="column 'architecture' is not known"):
        read_table(table(tmp_path, "1", head="accuracy"), "accuracy", CELLS)
    with pytest.raises(DataError, match="has no rows"):
        read_table(table(tmp_path), "accuracy", CELLS)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="must be CSV in UTF-8"):
        read_table(path, "accuracy", CELLS)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is not known"):
        read_table(path, "accuracy", CELLS)


def rows(space: NasBench201Space, count: int = 600) -> list[GroundTruth]:
    rng = np.random.default_rng(0)
    drawn = {space.identify(cell): cell for cell in (space.sample(rng) for _ in range(count))}
    return [GroundTruth(identity, cell, 0.0) for identity, cell in drawn.items()]


def cells(known: list[GroundTruth]) -> set[str]:
    return {str(one.architecture) for one in known}


def test_part_of_half_depends_on_architecture_alone():
    known = rows(CELLS)
    first, second = (part_of(known, CELLS, half) for half in ("first", "second"))
    assert not cells(first) & cells(second)
    assert cells(first) | cells(second) == cells(known)
    assert 0.42 < len(first) / len(known) < 0.58
    assert part_of(known[100:300][::-1], CELLS, "first") == [
        one for one in known[100:300][::-1] if one in first
    ]
    other = NasBench201Space(NasBench201Options(channels=4, cells=1))
    assert cells(part_of(rows(other), other, "first")) == cells(first)


def test_part_of_limit_draws_from_all_over_the_table():
    known = rows(CELLS)
    few, more = (part_of(known, CELLS, limit=limit) for limit in (20, 60))
    assert (len(few), len(more)) == (20, 60)
    assert cells(few) < cells(more)
    assert cells(part_of(known[::-1], CELLS, limit=20)) == cells(few)
    places = [known.index(one) for one in more]
    assert places == sorted(places)
    assert min(places) < 100
    assert max(places) > len(known) - 100
    assert len(part_of(known, CELLS, limit=10**6)) == len(known)
    assert cells(part_of(known, CELLS, "second", 20)) < cells(part_of(known, CELLS, "second"))


def candidate(value: float, *, examples: int = 10, partial: bool = False) -> Candidate:
    return make_candidate(str(value), value, examples=examples, partial=partial)


def test_stratified_sample_has_one_of_each_part_of_the_ranking():
    candidates = [candidate(value) for value in range(10)]
    drawn = [one.value for one in stratified_sample(candidates, 5)]
    assert [int(value // 2) for value in drawn] == [0, 1, 2, 3, 4]
    assert [one.value for one in stratified_sample(candidates, 10)] == list(range(10))
    # Ten in three parts: 3, 3 and 4.
    uneven = [one.value for one in stratified_sample(candidates, 3)]
    assert [sum(value >= bound for bound in (3, 6)) for value in uneven] == [0, 1, 2]
    for count in (0, 11):
        with pytest.raises(InvalidValueError, match=f"from 1 to 10, .* got {count}"):
            stratified_sample(candidates, count)


def test_audit_cut_takes_equal_share_of_each_class(digits):
    rest, audit = audit_cut(digits)
    before = torch.bincount(digits.train.labels)
    taken = torch.bincount(audit.labels)
    assert taken.tolist() == [round(0.2 * count) for count in before.tolist()]
    assert torch.equal(torch.bincount(rest.train.labels), before - taken)
    together = torch.cat([rest.train.images, audit.images]).flatten(1)
    everything = digits.train.images.flatten(1)
    assert torch.equal(sorted_rows(together), sorted_rows(everything))
    assert rest.val is digits.val
    assert torch.equal(audit_cut(digits)[1].images, audit.images)


def sorted_rows(values):
    return torch.tensor(sorted(values.tolist()))


def test_audit_cut_of_large_data_is_bounded(digits):
    n = 40_000
    stored = torch.zeros(1, 1, 8, 8).expand(n, -1, -1, -1)
    large = replace(digits, train=Split(stored, torch.arange(n) % 10))
    assert len(audit_cut(large)[1]) == 5000


def test_audit_cut_of_too_few_examples_is_refused(digits):
    few = replace(digits, train=Split(torch.zeros(2, 1, 8, 8), torch.arange(2)))
    with pytest.raises(DataError, match="has 2 examples and none to spare"):
        audit_cut(few)


@pytest.fixture
def sample(run):
    smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    return stratified_sample(Study(run.study_path).ranked(), 2)


def test_train_sample_judges_on_audit_split_and_trains_once(run, sample):
    settings = ChildSettings(epochs=1)
    known = train_sample(run, sample, settings, "cpu")
    audit = audit_cut(run.data)[1]
    names = sorted(path.name for path in (run.path / "children").iterdir())
    assert names == sorted(f"{one.id}-e1-audit" for one in sample)
    for one, drawn in zip(known, sample, strict=True):
        child = smash.Child.open(run.path / "children" / f"{drawn.id}-e1-audit")
        found = evaluate(child.model(torch.device("cpu")), audit, run.data, "audit")
        assert one.id == drawn.id
        assert one.accuracy == 1 - found.error
        assert set(child.result) == {"train", "val", "audit"}
    kept = child.path / "model.safetensors"
    before = kept.stat().st_mtime_ns
    assert train_sample(run, sample, settings, "cpu") == known
    assert kept.stat().st_mtime_ns == before
    (child.path / "result.json").unlink()
    assert train_sample(run, sample, settings, "cpu") == known


def test_train_sample_does_not_learn_from_audit_examples(run, sample):
    settings = ChildSettings(epochs=1)
    before = train_sample(run, sample[:1], settings, "cpu")
    path = run.path / "children" / f"{sample[0].id}-e1-audit" / "model.safetensors"
    weights = load_tensors(path)[0]
    data, audit = run.data, audit_cut(run.data)[1]
    assert audit.rows is not None
    stored = data.train.stored.clone()
    stored[audit.rows] = 255 - stored[audit.rows]
    run.data = replace(data, train=replace(data.train, stored=stored))
    for file in path.parent.iterdir():
        file.unlink()
    after = train_sample(run, sample[:1], settings, "cpu")
    again = load_tensors(path)[0]
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    assert after[0].accuracy != before[0].accuracy
