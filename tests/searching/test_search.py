from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import torch

import smash
from smash.errors import InvalidValueError, RunStateError
from smash.scoring.scorer import Scorer
from smash.study.study import Study
from tests.conftest import TINY


def ids(study):
    return [candidate.id for candidate in study.candidates()]


def test_a_search_that_was_cut_goes_on_to_the_same_candidates(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    whole = smash.search(run, random=6, perturb=4, markov=4, device="cpu")
    copy = smash.Run.open(tmp_path / "copy")
    smash.search(copy, random=6, perturb=2, markov=0, device="cpu")
    again = smash.search(copy, random=6, perturb=4, markov=4, device="cpu")
    assert again.candidates() == whole.candidates()
    assert len(set(ids(again))) == 14


def test_a_finished_search_changes_nothing_and_larger_numbers_extend_it(run):
    first = smash.search(run, random=5, perturb=1, markov=1, device="cpu").candidates()
    content = run.study_path.read_bytes()
    smash.search(run, random=5, perturb=1, markov=1, device="cpu")
    assert run.study_path.read_bytes() == content
    more = smash.search(run, random=7, perturb=1, markov=1, device="cpu").candidates()
    assert more[:7] == first
    assert [one.strategy for one in more[7:]] == ["random", "random"]


def test_other_settings_are_refused(run):
    smash.search(run, random=2, perturb=0, markov=0, device="cpu")
    with pytest.raises(RunStateError, match=r"seed was 0.* without its study\.journal"):
        smash.search(run, random=2, perturb=0, markov=0, seed=1, device="cpu")


def test_a_search_does_not_mix_losses_of_mean_predictions_with_mean_losses(few_digits, tmp_path):
    run = smash.train(few_digits, tmp_path / "run", epochs=2, snapshots=2, **TINY)
    counts = {"random": 2, "perturb": 0, "markov": 0, "device": "cpu"}
    study = smash.search(run, **counts)
    smash.search(run, **counts)
    study.settings = {key: study.settings[key] for key in study.settings if "snapshots" not in key}
    with pytest.raises(RunStateError, match="loss_of_snapshots was of their mean prediction"):
        smash.search(run, **counts)


def test_limits_hold_for_every_candidate(run):
    free = smash.search(run, random=8, perturb=0, markov=0, device="cpu").candidates()
    limit = sorted(one.params for one in free)[3]
    run.study_path.unlink()
    study = smash.search(run, random=8, perturb=4, markov=4, max_params=limit, device="cpu")
    assert len(study.candidates()) == 16
    assert max(one.params for one in study.candidates()) <= limit


def test_a_limit_that_nothing_meets_is_refused_before_scoring(run):
    with pytest.raises(InvalidValueError, match="max_params 10 cannot be met"):
        smash.search(run, random=2, max_params=10, device="cpu")
    assert not run.study_path.exists()


def test_scores_are_repeatable_and_independent(run):
    study = smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    scorer = Scorer(run.network(torch.device("cpu")), run.data)
    for one in reversed(study.candidates()):
        score = scorer(run.space.from_json(one.architecture))
        assert (score.error, score.loss) == (one.error, one.loss)
        assert score.split == "val"
        assert score.examples == len(run.data.val)


def test_a_child_whose_numbers_overflow_ranks_last(run, monkeypatch):
    broken = []
    predict = Scorer._predict

    def overflowing(self, children, number):
        predicted = predict(self, children, number)
        if len(broken) < 2:
            broken.append(number)
            return torch.full_like(predicted, math.nan if len(broken) == 1 else -math.inf)
        return predicted

    monkeypatch.setattr(Scorer, "_predict", overflowing)
    study = smash.search(run, random=5, perturb=0, markov=0, full=True, device="cpu")
    ranked = Study(run.study_path).ranked()
    assert [one.value for one in ranked] == [one.value for one in study.ranked()]
    assert [one.loss > 1e29 for one in ranked] == [False, False, False, True, True]
    assert all(0 < one.ensemble_error < 1 for one in ranked[:3])


@pytest.mark.parametrize("rank_by", ["loss", "error"])
def test_what_ranks_is_a_setting(run, rank_by):
    study = smash.search(run, random=6, perturb=0, markov=0, rank_by=rank_by, device="cpu")
    values = [getattr(one, rank_by) for one in study.ranked()]
    assert values == sorted(values)


def test_a_line_cut_off_is_mended(run):
    smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    content = run.study_path.read_bytes()
    run.study_path.write_bytes(content[:-20])
    assert len(Study(run.study_path).candidates()) == 2
    study = smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    assert len(study.candidates()) == 3
    assert len(Study(run.study_path).candidates()) == 3


def test_the_ensemble_error_is_that_of_the_mean_prediction(run):
    study = smash.search(run, random=4, perturb=1, markov=0, device="cpu")
    scorer = Scorer(run.network(torch.device("cpu")), run.data)
    total = 0
    for one in study.candidates():
        logits = scorer.predict(run.space.from_json(one.architecture)).numpy()
        odds = np.exp(logits.astype(float) - logits.max(1, keepdims=True))
        total = total + odds / odds.sum(1, keepdims=True)
        wrong = (total.argmax(1) != scorer.labels.numpy()).mean()
        assert one.ensemble_error == pytest.approx(wrong, abs=1e-12)
        classes = np.argsort(-logits, axis=1)[:, :5]
        missed = [label not in row for label, row in zip(scorer.labels, classes, strict=True)]
        assert one.top5_error == pytest.approx(np.mean(missed), abs=1e-12)


def test_an_ensemble_that_is_lost_is_computed_again(run):
    first = smash.search(run, random=3, perturb=0, markov=0, device="cpu").candidates()
    (run.path / "ensemble.safetensors").write_bytes(b"damaged")
    more = smash.search(run, random=5, perturb=0, markov=0, device="cpu").candidates()
    assert more[:3] == first
    run.study_path.unlink()  # the kept sum is now of another study
    assert smash.search(run, random=5, perturb=0, markov=0, device="cpu").candidates() == more


def test_changes_by_gradient_can_be_cut_and_go_on(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    settings = {"random": 3, "markov": 1, "strategy": "gradient", "device": "cpu"}
    whole = smash.search(run, perturb=3, **settings)
    copy = smash.Run.open(tmp_path / "copy")
    smash.search(copy, perturb=1, **{**settings, "markov": 0})
    assert smash.search(copy, perturb=3, **settings).candidates() == whole.candidates()
    assert [one.strategy for one in whole.candidates()][3:6] == ["gradient"] * 3


def test_a_gradient_that_there_is_none_of_is_refused_before_scoring(digits, tmp_path):
    run = smash.train(digits, tmp_path / "none", epochs=1, hypernet="none", **TINY)
    with pytest.raises(InvalidValueError, match="needs a hypernetwork"):
        smash.search(run, random=500, strategy="gradient", device="cpu")
    assert not run.study_path.exists()


def test_the_gradient_of_a_base_is_computed_once(run, monkeypatch):
    asked = []
    slope = Scorer.slope

    def counted(self, architecture):
        asked.append(architecture)
        return slope(self, architecture)

    monkeypatch.setattr(Scorer, "slope", counted)
    smash.search(run, random=3, perturb=4, markov=0, strategy="gradient", device="cpu")
    assert len(asked) == 1


def test_scores_on_the_test_split_say_so(run):
    study = smash.search(run, random=2, perturb=0, markov=0, split="test", device="cpu")
    assert {(one.split, one.examples) for one in study.candidates()} == {
        ("test", len(run.data.test))
    }


def test_scores_do_not_depend_on_how_many_are_predicted_at_once(run):
    counts = {"random": 3, "perturb": 0, "markov": 0, "device": "cpu"}
    whole = smash.search(run, **counts).candidates()
    run.study_path.unlink()
    parts = smash.search(run, batch_size=7, **counts).candidates()
    assert ids(smash.search(run, **counts)) == [one.id for one in whole]  # no other search
    assert [one.loss for one in parts] == pytest.approx([one.loss for one in whole], rel=1e-5)
    with pytest.raises(InvalidValueError, match="batch_size must be at least 1, got 0"):
        smash.search(run, batch_size=0, **counts)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_candidates_predict_in_half_precision_where_asked(run, precision):
    scorers = [
        Scorer(run.network(torch.device("cpu")), run.data, precision=name)
        for name in ("fp32", precision)
    ]
    architecture = run.space.smallest()
    whole, half = (scorer.predict(architecture) for scorer in scorers)
    assert half.dtype == torch.float32
    assert not torch.equal(half, whole)
    torch.testing.assert_close(half, whole, atol=0.1, rtol=0.1)
    smash.search(run, random=1, perturb=0, markov=0, precision=precision, device="cpu")
    with pytest.raises(RunStateError, match=f"precision was {precision}"):
        smash.search(run, random=2, perturb=0, markov=0, device="cpu")
