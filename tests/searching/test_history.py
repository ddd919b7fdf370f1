from __future__ import annotations

import math

import pytest

from smash.searching.history import History
from smash.study.study import Study
from tests.study.candidates import make_candidate


@pytest.fixture
def study(tmp_path):
    study = Study(tmp_path / "study.journal", create=True)
    study.add(make_candidate("a", 0.5))
    study.add(make_candidate("b", 0.1, index=2, partial=True))
    return study


def test_history_of_a_new_study_is_empty(tmp_path):
    history = History(Study(tmp_path / "study.journal", create=True))
    assert (history.candidates, history.best) == ([], math.inf)


def test_history_finds_candidates_by_proposal(study):
    history = History(study)
    assert [each.id for each in history.find("random", range(5))] == ["a", "b"]
    assert history.find("markov", range(5)) == []
    assert (history.count("random"), history.count("markov")) == (2, 0)


def test_best_is_that_of_full_scores(study):
    history = History(study)
    assert history.best == 0.5
    history.commit(make_candidate("c", 0.3, index=1))
    assert history.best == 0.3


def test_commit_adds_an_architecture_once(study, tmp_path):
    history = History(study)
    history.commit(make_candidate("c", index=1))
    history.commit(make_candidate("c", index=5))
    assert [each.id for each in history.candidates] == ["a", "b", "c"]
    assert Study(tmp_path / "study.journal").candidates() == history.candidates


def test_candidates_after_some_are_those_committed_since(study):
    history = History(study)
    history.commit(make_candidate("c", index=3))
    history.commit(make_candidate("d", index=4))
    assert [[each.id for each in study.candidates(after=count)] for count in (0, 3, 4)] == [
        ["a", "b", "c", "d"], ["d"], []
    ]  # fmt: skip
