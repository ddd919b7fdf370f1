import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from smash.errors import RunStateError
from smash.study.journal import Journal
from smash.study.study import Candidate, Study

ONE = Candidate(
    id="one", architecture={"blocks": [1, 2]}, strategy="random", index=0, value=0.5, error=0.25,
    top5_error=0.0, ensemble_error=0.25, loss=1.5, split="val", examples=8, params=10, macs=20,
    trace={4: 0.75, 8: 0.5},
)  # fmt: skip
DROPPED = replace(
    ONE, id="two", index=1, partial=True, value=float("inf"), proxy=(-float("inf"), 2.0),
    latency=0.01,
)  # fmt: skip
READABLE = {"depth": 3.0, "width": 12.5}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "study.journal"
    study = Study(path, create=True)
    study.settings = {"random": 2}
    for candidate in (ONE, DROPPED, ONE):
        study.add(candidate, READABLE)
    return path


def by_optuna(path: Path) -> optuna.Study:
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(storage=storage, study_name="smash")


def test_lines_are_read_as_optuna_reads_them(path: Path) -> None:
    journal, study = Journal(path, "smash"), by_optuna(path)
    assert journal.read_on()
    assert journal.attributes == study.user_attrs
    for name in ("user_attrs", "intermediate_values", "params"):
        assert [getattr(entry, name) for entry in journal.entries] == [
            getattr(trial, name) for trial in study.get_trials()
        ]


def test_a_reader_reads_on_and_passes_over_a_last_line_that_is_cut_off(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    study = Study(path)
    assert study.candidates() == [ONE, DROPPED]
    path.write_bytes(whole)
    Study(path, create=True).add(replace(ONE, id="three"), {})
    assert [one.id for one in study.candidates()] == ["one", "two", "three"]
    assert study.settings == {"random": 2}


def test_what_costs_nothing_can_be_kept(path: Path) -> None:
    free = replace(ONE, id="free", params=0, macs=0)
    Study(path, create=True).add(free, {})
    assert Study(path).candidates()[-1] == free


def test_what_another_program_wrote_is_left_to_optuna(path: Path) -> None:
    study, other = Study(path), by_optuna(path)
    other._storage.set_study_system_attr(other._study_id, "seen", 1)
    assert not Journal(path, "smash").read_on()
    assert study.candidates() == Study(path).candidates() == [ONE, DROPPED]
    assert Study(path).readable() == {"one": READABLE, "two": READABLE}


def test_an_architecture_that_is_damaged_is_found(path: Path) -> None:
    path.write_text(path.read_text().replace(r"{\"blocks\"", r"{\"blocks"))
    with pytest.raises(RunStateError, match=r"study\.journal is damaged"):
        Study(path).candidates()


def test_architectures_are_plain_json(path: Path) -> None:
    (one, *_) = Study(path).candidates()
    assert json.loads(json.dumps(one.architecture)) == ONE.architecture
