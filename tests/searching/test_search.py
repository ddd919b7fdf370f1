from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import smash
from smash.cli.main import main
from smash.errors import InvalidValueError, RunStateError
from smash.scoring.scorer import Scorer
from smash.searching.history import History
from smash.searching.settings import SearchSettings
from smash.study.study import Study
from tests.conftest import TINY
from tests.processes import begin


def ids(study):
    return [candidate.id for candidate in study.candidates()]


def test_search_cut_short_resumes_to_the_same_candidates(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    whole = smash.search(run, random=6, perturb=4, markov=4, device="cpu")
    copy = smash.Run.open(tmp_path / "copy")
    smash.search(copy, random=6, perturb=2, markov=0, device="cpu")
    again = smash.search(copy, random=6, perturb=4, markov=4, device="cpu")
    assert again.candidates() == whole.candidates()
    assert len(set(ids(again))) == 14


def test_finished_search_changes_nothing_and_larger_numbers_extend_it(run):
    first = smash.search(run, random=5, perturb=1, markov=1, device="cpu").candidates()
    content = run.study_path.read_bytes()
    smash.search(run, random=5, perturb=1, markov=1, device="cpu")
    assert run.study_path.read_bytes() == content
    more = smash.search(run, random=7, perturb=1, markov=1, device="cpu").candidates()
    assert more[:7] == first
    assert [one.strategy for one in more[7:]] == ["random", "random"]


def test_search_by_settings_is_that_by_keywords(run):
    settings = SearchSettings(random=4, perturb=1, markov=1, device="cpu")
    study = smash.search(run, settings)
    assert smash.search(run, settings, markov=0).candidates() == study.candidates()
    assert smash.search(run, random=4, perturb=1, markov=1).candidates() == study.candidates()
    with pytest.raises(InvalidValueError, match="settings must be SearchSettings"):
        smash.search(run, {"random": 4})


def test_search_returns_what_it_has_written(run):
    study = smash.search(run, random=4, perturb=1, markov=1, prior="naswot", device="cpu")
    assert Study(run.study_path, run.space).candidates() == study.candidates()
    plain = Study(run.study_path).candidates()
    assert [each.architecture for each in plain] == [
        json.loads(json.dumps(run.space.to_json(each.architecture))) for each in study.candidates()
    ]


def test_main_effects_of_a_space_without_choices_are_refused_before_anything_is_written(run):
    with pytest.raises(InvalidValueError, match="for spaces of choices"):
        smash.search(run, random=2, prior="main-effects", device="cpu")
    assert not run.study_path.exists()


def test_search_with_other_settings_is_refused(run):
    smash.search(run, random=2, perturb=0, markov=0, device="cpu")
    with pytest.raises(RunStateError, match=r"seed was 0.* without its study\.journal"):
        smash.search(run, random=2, perturb=0, markov=0, seed=1, device="cpu")


def test_search_within_limits_proposes_nothing_larger(run):
    free = smash.search(run, random=8, perturb=0, markov=0, device="cpu").candidates()
    limit = sorted(one.params for one in free)[3]
    run.study_path.unlink()
    study = smash.search(run, random=8, perturb=4, markov=4, max_params=limit, device="cpu")
    assert len(study.candidates()) == 16
    assert max(one.params for one in study.candidates()) <= limit


def test_search_within_limits_that_nothing_meets_is_refused(run):
    with pytest.raises(InvalidValueError, match="max_params 10 cannot be met"):
        smash.search(run, random=2, max_params=10, device="cpu")
    assert not run.study_path.exists()


def test_scores_of_a_search_are_repeatable_and_independent(run):
    study = smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    scorer = Scorer(run.network(torch.device("cpu")), run.data)
    for one in reversed(study.candidates()):
        score = scorer(one.architecture)
        assert (score.error, score.loss) == (one.error, one.loss)
        assert score.split == "val"
        assert score.examples == len(run.data.val)


def test_child_whose_numbers_overflow_ranks_last(run, monkeypatch):
    broken = []
    predict = Scorer.predict_rung

    def overflowing(self, child, rung):
        predicted = predict(self, child, rung)
        if len(broken) < 2:
            broken.append(rung)
            return torch.full_like(predicted, math.nan if len(broken) == 1 else -math.inf)
        return predicted

    monkeypatch.setattr(Scorer, "predict_rung", overflowing)
    study = smash.search(run, random=5, perturb=0, markov=0, full=True, device="cpu")
    ranked = Study(run.study_path).ranked()
    assert [one.value for one in ranked] == [one.value for one in study.ranked()]
    assert [one.loss > 1e29 for one in ranked] == [False, False, False, True, True]
    assert all(0 < one.ensemble_error < 1 for one in ranked[:3])


@pytest.mark.parametrize("rank_by", ["loss", "error"])
def test_search_ranks_by_the_setting(run, rank_by):
    study = smash.search(run, random=6, perturb=0, markov=0, rank_by=rank_by, device="cpu")
    values = [getattr(one, rank_by) for one in study.ranked()]
    assert values == sorted(values)


def test_search_cuts_off_an_unfinished_line(run):
    smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    content = run.study_path.read_bytes()
    run.study_path.write_bytes(content[:-20])
    assert len(Study(run.study_path).candidates()) == 2
    study = smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    assert len(study.candidates()) == 3
    assert len(Study(run.study_path).candidates()) == 3


def _search(folder, log):
    os.chdir(folder)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
    sys.argv = [
        "smash",
        *["search", "run", "--random", "4", "--perturb", "1", "--markov", "0", "--device", "cpu"],
    ]
    main()


def test_search_command_heals_the_dangling_lock_of_a_killed_search(run, tmp_path):
    """On a relative path, as in the documentation."""
    smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    lock = tmp_path / "run/study.journal.lock"
    lock.symlink_to("run/study.journal")
    process = begin(_search, tmp_path, tmp_path / "log")
    process.join(300)
    assert process.exitcode == 0, (tmp_path / "log").read_text()
    assert not lock.is_symlink()
    assert len(Study(run.study_path).candidates()) == 5


def test_ensemble_error_is_that_of_the_mean_prediction(run):
    study = smash.search(run, random=4, perturb=1, markov=0, device="cpu")
    scorer = Scorer(run.network(torch.device("cpu")), run.data)
    total = 0
    for one in study.candidates():
        logits = scorer.predict(one.architecture).numpy()
        odds = np.exp(logits.astype(float) - logits.max(1, keepdims=True))
        total = total + odds / odds.sum(1, keepdims=True)
        wrong = (total.argmax(1) != scorer.labels.numpy()).mean()
        assert one.ensemble_error == pytest.approx(wrong, abs=1e-12)
        classes = np.argsort(-logits, axis=1)[:, :5]
        missed = [label not in row for label, row in zip(scorer.labels, classes, strict=True)]
        assert one.top5_error == pytest.approx(np.mean(missed), abs=1e-12)


def test_lost_ensemble_is_computed_again(run):
    first = smash.search(run, random=3, perturb=0, markov=0, device="cpu").candidates()
    (run.path / "ensemble.safetensors").write_bytes(b"damaged")
    more = smash.search(run, random=5, perturb=0, markov=0, device="cpu").candidates()
    assert more[:3] == first
    run.study_path.unlink()  # the kept sum is now of another study
    assert smash.search(run, random=5, perturb=0, markov=0, device="cpu").candidates() == more


def test_search_by_gradient_cut_short_resumes_to_the_same_candidates(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    settings = {"random": 3, "markov": 1, "strategy": "gradient", "device": "cpu"}
    whole = smash.search(run, perturb=3, **settings)
    copy = smash.Run.open(tmp_path / "copy")
    smash.search(copy, perturb=1, **{**settings, "markov": 0})
    assert smash.search(copy, perturb=3, **settings).candidates() == whole.candidates()
    assert [one.strategy for one in whole.candidates()][3:6] == ["gradient"] * 3


def test_search_by_gradient_without_a_hypernetwork_is_refused(digits, tmp_path):
    run = smash.train(digits, tmp_path / "none", epochs=1, hypernet="none", **TINY)
    with pytest.raises(InvalidValueError, match="needs a hypernetwork"):
        smash.search(run, random=500, strategy="gradient", device="cpu")
    assert not run.study_path.exists()


def test_search_by_gradient_computes_one_gradient_per_base(run, monkeypatch):
    asked = []
    slope = Scorer.slope

    def counted(self, architecture):
        asked.append(architecture)
        return slope(self, architecture)

    monkeypatch.setattr(Scorer, "slope", counted)
    smash.search(run, random=3, perturb=4, markov=0, strategy="gradient", device="cpu")
    assert len(asked) == 1


def test_scores_name_their_split(run):
    study = smash.search(run, random=2, perturb=0, markov=0, split="test", device="cpu")
    assert {(one.split, one.examples) for one in study.candidates()} == {
        ("test", len(run.data.test))
    }


def test_scores_do_not_depend_on_the_batch_size(run):
    counts = {"random": 3, "perturb": 0, "markov": 0, "device": "cpu"}
    whole = smash.search(run, **counts).candidates()
    run.study_path.unlink()
    parts = smash.search(run, batch_size=7, **counts).candidates()
    assert ids(smash.search(run, **counts)) == [one.id for one in whole]  # no other search
    assert [one.loss for one in parts] == pytest.approx([one.loss for one in whole], rel=1e-5)


def test_search_in_another_precision_is_refused(run):
    smash.search(run, random=1, perturb=0, markov=0, precision="bf16", device="cpu")
    with pytest.raises(RunStateError, match="precision was bf16"):
        smash.search(run, random=2, perturb=0, markov=0, device="cpu")


def test_search_takes_over_the_limits_of_the_training(few_digits, tmp_path):
    run = smash.train(few_digits, tmp_path / "run", max_params=8800, epochs=1, **TINY)
    study = smash.search(run, random=6, perturb=2, markov=0)
    assert max(one.params for one in study.candidates()) <= 8800
    assert study.settings["max_params"] == 8800


@pytest.fixture
def slow(monkeypatch):
    """Lets each score take a second of a clock that nothing else moves."""
    now = [0.0]
    for module in ("clock", "search"):
        monkeypatch.setattr(
            f"smash.searching.{module}.time", SimpleNamespace(monotonic=lambda: now[0])
        )
    commit = History.commit

    def commit_slowly(self, candidate):
        now[0] += 1
        commit(self, candidate)

    monkeypatch.setattr(History, "commit", commit_slowly)
    return now


def test_search_for_minutes_shares_them_among_strategies(run, slow):
    counts = {"random": 5, "perturb": 1, "markov": 1}
    study = smash.search(run, minutes=0.7, device="cpu", **counts)
    candidates = study.candidates()
    found = Counter(candidate.strategy for candidate in candidates)
    # A tenth of the 42 seconds at most goes into a cohort, once ten have told the pace. The first
    # cohort of the perturbation takes all that is left.
    assert found == {"random": 30, "perturb": 10, "markov": 2}
    assert study.timetable.stops == {
        "random": [10, 14, 18, 22, 26, 30], "perturb": [10], "markov": [2]
    }  # fmt: skip
    content = run.study_path.read_bytes()
    smash.search(run, minutes=0.7, device="cpu", **counts)
    assert run.study_path.read_bytes() == content
    more = smash.search(run, minutes=0.8, device="cpu", **counts)
    assert more.candidates()[:42] == candidates
    assert 46 <= len(more.candidates()) <= 52


def test_search_for_minutes_keeps_the_time_of_an_interrupted_cohort(run, slow, monkeypatch):
    commit = History.commit

    def interrupt(self, candidate):
        commit(self, candidate)
        if len(self.candidates) == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(History, "commit", interrupt)
    settings = {"minutes": 0.5, "random": 1, "perturb": 0, "markov": 0, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        smash.search(run, **settings)
    assert smash.Study(run.study_path).timetable.seconds == 12  # the cohort began at 10


def test_search_for_minutes_settles_a_cohort_that_was_killed_though_time_is_over(
    run, slow, monkeypatch
):
    commit = History.commit

    def kill(self, candidate):
        if len(self.candidates) == 4:
            raise RuntimeError("as by a kill")
        commit(self, candidate)

    monkeypatch.setattr(History, "commit", kill)
    settings = {"minutes": 0.1, "random": 1, "perturb": 0, "markov": 0, "device": "cpu"}
    with pytest.raises(RuntimeError, match="kill"):
        smash.search(run, **settings)
    begin = History.__init__

    def begin_late(self, study):
        slow[0] += 1000  # as where loading takes longer than the minutes
        begin(self, study)

    monkeypatch.setattr(History, "commit", commit)
    monkeypatch.setattr(History, "__init__", begin_late)
    study = smash.search(run, **settings)
    assert len(study.candidates()) == study.timetable.stops["random"][0] == 10


def test_search_for_minutes_that_is_killed_resumes_to_the_same_candidates(
    run, slow, monkeypatch, tmp_path
):
    shutil.copytree(run.path, tmp_path / "copy")
    settings = {"minutes": 0.5, "random": 2, "perturb": 0, "markov": 1, "device": "cpu"}
    whole = smash.search(run, **settings)
    commit, slow[0] = History.commit, 0.0

    def kill(self, candidate):
        if len(self.candidates) == 15:
            raise RuntimeError("as by a kill")
        commit(self, candidate)

    copy = smash.Run.open(tmp_path / "copy")
    copy.data = run.data
    monkeypatch.setattr(History, "commit", kill)
    with pytest.raises(RuntimeError, match="kill"):
        smash.search(copy, **settings)
    slow[0] = 1000.0  # of another process
    monkeypatch.setattr(History, "commit", commit)
    again = smash.search(copy, **settings)
    cut = whole.timetable.stops["random"][1]
    assert 10 < cut < 20
    assert again.candidates()[:cut] == whole.candidates()[:cut]
    assert again.timetable.stops["random"][:2] == whole.timetable.stops["random"][:2]


def test_a_search_that_ended_before_its_first_candidate_binds_no_settings(run):
    Study(run.study_path, create=True).settings = {"max_params": 7, "rank_by": "loss"}
    study = smash.search(run, random=2, perturb=0, markov=0, device="cpu")
    assert study.settings["max_params"] is None
    assert len(study.candidates()) == 2
