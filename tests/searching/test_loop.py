"""Searches in which candidates race, on a run with enough validation examples for it."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import numpy as np
import optuna
import pytest
import torch
from optuna.storages.journal import JournalFileBackend
from scipy import stats

import smash
from smash.errors import InvalidValueError, RunStateError
from smash.profiling.cost import measure_cost
from smash.runtime.rng import generator
from smash.scoring.scorer import Scorer
from smash.study.study import Study
from tests.answers import call
from tests.conftest import TINY

COUNTS = {"random": 14, "perturb": 5, "markov": 3, "keep": 3, "device": "cpu"}
RANDOM = {"random": 12, "perturb": 0, "markov": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    data = smash.load_data("digits", val_fraction=0.5)
    return smash.train(data, tmp_path_factory.mktemp("races") / "run", epochs=2, **TINY)


@pytest.fixture
def fresh(trained, tmp_path):
    """Makes copies of the trained run, to search in."""
    made = []

    def copy():
        path = tmp_path / f"copy-{len(made)}"
        shutil.copytree(
            trained.path, path, ignore=shutil.ignore_patterns("study*", "ensemble*", "trust*")
        )
        made.append(smash.Run.open(path))
        made[-1].data = trained.data
        return made[-1]

    return copy


@pytest.fixture(scope="module")
def raced(trained):
    """The candidates of a race, in the folder of `trained`."""
    return smash.search(trained, **COUNTS)


@pytest.fixture
def scorer(trained):
    return Scorer(trained.network(torch.device("cpu")), trained.data)


def test_partial_scores_are_those_of_the_first_examples(trained, raced, scorer):
    candidates = raced.candidates()
    assert len(candidates) == 22
    partial = [one for one in candidates if one.partial]
    assert 8 < len(partial) < 20
    assert {one.examples for one in partial} <= {100, 200, 400}
    for one in candidates:
        logits = scorer.predict(one.architecture).double().numpy()
        odds = np.exp(logits - logits.max(1, keepdims=True))
        odds /= odds.sum(1, keepdims=True)
        own = odds[np.arange(len(odds)), scorer.labels.numpy()]
        for seen, value in {**one.trace, one.examples: one.loss}.items():
            assert value == pytest.approx(-np.log(own[:seen]).mean(), rel=1e-5)
        wrong = odds.argmax(1) != scorer.labels.numpy()
        assert one.error == pytest.approx(wrong[: one.examples].mean())
        assert list(one.trace) == [end for end in scorer.rungs if end <= one.examples]
        assert one.partial == (one.examples < len(trained.data.val))


def test_full_scores_of_a_race_are_those_without_one(raced, fresh):
    counts = {"random": COUNTS["random"], "perturb": 0, "markov": 0, "device": "cpu"}
    full = {one.id: one for one in smash.search(fresh(), **counts, full=True).candidates()}
    drawn = [one for one in raced.candidates() if one.strategy == "random"]
    assert {one.id for one in drawn} == set(full)
    for one in drawn:
        if not one.partial:
            assert (one.loss, one.error) == (full[one.id].loss, full[one.id].error)
    losses = sorted(one.loss for one in full.values())
    # The best four differ by 0.005, the others by up to 0.14.
    assert min(one.loss for one in drawn if not one.partial) < losses[0] + 0.005
    assert len([one for one in drawn if not one.partial]) >= 3
    assert not any(one.partial for one in full.values())


def test_partial_scores_are_pruned_trials_and_rank_last(trained, raced, capsys):
    ranked = raced.ranked()
    partial = [one.partial for one in ranked]
    assert partial == sorted(partial)
    seen = [one.examples for one in ranked]
    assert seen == sorted(seen, reverse=True)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(trained.study_path)))
    trials = optuna.load_study(storage=storage, study_name="smash").trials
    for one, trial in zip(raced.candidates(), trials, strict=True):
        assert trial.state.name == ("PRUNED" if one.partial else "COMPLETE")
        assert trial.value == one.value
        assert trial.intermediate_values == one.trace
    assert call("show", str(trained.path), "--json", "--top", "22") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["partial"] for row in rows] == partial
    assert [row["examples"] for row in rows] == seen
    assert [row["score_rank"] for row in rows] == [row["rank"] for row in rows] == list(range(22))
    assert {row["proxy_rank"] for row in rows} == {None}


def test_ensemble_error_is_that_of_full_scores_alone(trained, raced, scorer):
    total: np.ndarray | float = 0.0
    wrong = 1.0
    for one in raced.candidates():
        if not one.partial:
            logits = scorer.predict(one.architecture)
            total = total + logits.double().softmax(1).numpy()
            wrong = float((total.argmax(1) != scorer.labels.numpy()).mean())
        assert one.ensemble_error == pytest.approx(wrong)


class Stop(BaseException):
    """A kill, as far as a search can tell."""


def stopping_after(count):
    """A progress that stops the search when so many candidates are there."""

    @contextmanager
    def progress(label, total):
        def advance(done, words):
            if done == count:
                raise Stop

        yield advance

    return progress


def test_search_killed_anywhere_resumes_to_the_same_study(raced, fresh):
    whole = raced.candidates()
    run = fresh()
    for count in (2, 9, 14, 18, 21):
        with pytest.raises(Stop):
            smash.search(run, **COUNTS, progress=stopping_after(count))
        found = Study(run.study_path, run.space).candidates()
        assert found == whole[:count]
    assert smash.search(run, **COUNTS).candidates() == whole
    content = run.study_path.read_bytes()
    smash.search(run, **COUNTS)
    assert run.study_path.read_bytes() == content


def test_extended_search_killed_resumes_to_the_same_study(fresh):
    run, other = fresh(), fresh()
    first = smash.search(run, **RANDOM).candidates()
    more = smash.search(run, **{**RANDOM, "random": 20}).candidates()
    assert more[:12] == first
    assert sorted(one.index for one in more) == list(range(20))
    smash.search(other, **RANDOM)
    with pytest.raises(Stop):
        smash.search(other, **{**RANDOM, "random": 20}, progress=stopping_after(15))
    assert smash.search(other, **{**RANDOM, "random": 20}).candidates() == more


def test_markov_chain_races_against_its_position(fresh):
    counts = {"random": 6, "perturb": 0, "markov": 12, "device": "cpu", "rate": 0.5}
    full = smash.search(fresh(), **counts, full=True).candidates()
    found = smash.search(fresh(), **counts, keep=3).candidates()
    assert any(one.partial for one in found[6:])
    assert [one.id for one in found[6:]] == [one.id for one in full[6:]]
    moves = [one for one in full[6:] if one.value < min(x.value for x in full[: full.index(one)])]
    assert {one.id for one in moves} <= {one.id for one in found if not one.partial}


@pytest.mark.parametrize("rank_by", ["error", "top5_error"])
def test_race_is_decided_by_what_ranks(fresh, rank_by):
    found = smash.search(fresh(), **RANDOM, keep=2, rank_by=rank_by).candidates()
    for one in found:
        assert one.value == getattr(one, rank_by)
        assert one.trace[one.examples] == pytest.approx(one.value)
    assert any(one.partial for one in found)


def test_search_with_a_prior_ranks_by_both(fresh, capsys):
    run = fresh()
    settings = {**RANDOM, "random": 10, "prior": "params", "full": True}
    study = smash.search(run, **settings)
    candidates = study.candidates()
    assert [one.proxy for one in candidates] == [(one.params,) for one in candidates]
    goodness = stats.rankdata([-one.loss for one in candidates])
    size = stats.rankdata([one.params for one in candidates])
    joint = 2 * np.log(goodness) + np.log(size)
    best_first = [candidates[position].id for position in np.argsort(-joint, kind="stable")]
    ranked = [one.id for one in study.ranked()]
    assert joint[[[one.id for one in candidates].index(name) for name in ranked]] == pytest.approx(
        np.sort(joint)[::-1]
    )
    assert call("show", str(run.path), "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["id"] == best_first[0]
    for row in rows:
        position = [one.id for one in candidates].index(row["id"])
        assert row["score_rank"] == 10 - goodness[position]
        assert row["proxy_rank"] == pytest.approx(10 - size[position], abs=3)  # equals share a size
    assert call("show", str(run.path)) == 0
    shown = capsys.readouterr().out  # 80 columns, where there is no terminal
    assert "ranked by score and params" in shown
    for each in study.ranked()[:5]:
        for text in (each.id, f"{each.macs:,}", each.strategy):
            assert text in shown
    child = smash.retrain(run, rank=0, epochs=1, device="cpu", test=False)
    assert child.record.id == best_first[0]
    with pytest.raises(RunStateError, match="prior was params"):
        smash.search(run, **{**settings, "prior": "macs"})


def test_strategies_build_on_what_ranks_first_with_a_prior(fresh):
    run, other = fresh(), fresh()
    settings = {**RANDOM, "random": 7, "prior": "params", "full": True, "rate": 0.5}
    drawn = smash.search(run, **settings).ranked()
    assert drawn[0].loss > min(one.loss for one in drawn)  # by the score alone another is first
    perturbed = smash.search(run, **{**settings, "perturb": 2}).ranked()
    found = smash.search(other, **{**settings, "perturb": 2, "markov": 1}).candidates()
    for base, strategy, count in ((drawn[0], "perturb", 2), (perturbed[0], "markov", 1)):
        rngs = [generator(0, f"{strategy} proposal", index) for index in range(count)]
        proposed = [run.space.mutate(base.architecture, rng, 0.5) for rng in rngs]
        assert proposed == [one.architecture for one in found if one.strategy == strategy]


def test_race_with_a_prior_killed_resumes_to_the_same_study(fresh):
    run, other = fresh(), fresh()
    settings = {**RANDOM, "prior": "naswot", "keep": 3}
    whole = smash.search(run, **settings).candidates()
    assert any(one.partial for one in whole)
    assert all(len(one.proxy) == 1 for one in whole)
    for count in (9,):
        with pytest.raises(Stop):
            smash.search(other, **settings, progress=stopping_after(count))
    assert smash.search(other, **settings).candidates() == whole
    ranked = Study(other.study_path).ranked()
    assert [one.partial for one in ranked] == sorted(one.partial for one in ranked)


def test_prefilter_scores_the_best_share_by_a_proxy(fresh):
    run, other = fresh(), fresh()
    settings = {**RANDOM, "prefilter": "params:0.5", "full": True}
    whole = smash.search(run, **settings).candidates()
    drawn, space = [], run.space
    for index in range(12):
        rng = generator(0, "random proposal", index)
        architecture = space.sample(rng)
        while architecture in drawn:
            architecture = space.sample(rng)
        drawn.append(architecture)
    params = [measure_cost(space, one, run.data.task).params for one in drawn]
    chosen = sorted(np.argsort([-each for each in params], kind="stable")[:6].tolist())
    assert [one.index for one in whole] == chosen
    assert [one.id for one in whole] == [space.identify(drawn[index]) for index in chosen]
    assert Study(run.study_path).settings["prefilter"] == "params:0.5"
    content = run.study_path.read_bytes()
    smash.search(run, **settings)
    assert run.study_path.read_bytes() == content
    with pytest.raises(Stop):
        smash.search(other, **settings, progress=stopping_after(2))
    assert smash.search(other, **settings).candidates() == whole
    more = smash.search(run, **{**settings, "random": 24}).candidates()
    assert more[:6] == whole
    assert len(more) == 12
    with pytest.raises(RunStateError, match=r"prefilter was params:0\.5"):
        smash.search(run, **{**settings, "prefilter": "params:0.25"})


def test_prefilter_of_several_values_chooses_the_same_after_a_kill(fresh):
    """AZ-NAS joins ranks, which depend on who is ranked: all proposals of the cohort, each time.

    With this seed, ranks among only those that have not settled choose others.
    """
    run, other = fresh(), fresh()
    settings = {**RANDOM, "random": 16, "prefilter": "az-nas:0.4", "full": True, "seed": 14}
    whole = smash.search(run, **settings).candidates()
    with pytest.raises(Stop):
        smash.search(other, **settings, progress=stopping_after(3))
    assert smash.search(other, **settings).candidates() == whole


def test_correlate_scores_dropped_candidates_in_full(trained, raced, scorer):
    found = smash.correlate(trained, train=6, epochs=1, batch_size=250, device="cpu")
    ids = {one.id: one for one in raced.candidates()}
    assert {ids[point.id].partial for point in found.points} == {True, False}
    for name, score in ((point.id, point.score) for point in found.points):
        loss = scorer(ids[name].architecture).loss
        assert score == loss
    assert found.score == "loss on 765 val examples"


def test_search_with_a_wrong_setting_writes_no_study(fresh):
    run = fresh()
    with pytest.raises(InvalidValueError, match="az-nas"):
        smash.search(run, **RANDOM, prior="az-nass")
    assert not run.study_path.exists()


def test_search_command_races_by_default_and_takes_all_options(fresh, capsys):
    run = fresh()
    options = ["--random", "10", "--perturb", "0", "--markov", "0", "--device", "cpu"]
    more = ["--keep", "2", "--prior", "macs", "--prefilter", "params:0.8", "--batch-size", "100"]
    assert call("search", str(run.path), *options, *more, "--precision", "bf16") == 0
    said = capsys.readouterr().err.splitlines()
    assert "not checked" in said[-2]
    assert said[-1] == f"Next: smash retrain {run.path}"
    study = Study(run.study_path)
    assert len(study.candidates()) == 8
    assert any(one.partial for one in study.candidates())
    assert {"prior": "macs", "precision": "bf16", "full": False}.items() <= study.settings.items()
    assert call("search", str(run.path), *options, "--split", "tset") == 2
    assert "split" in capsys.readouterr().err
