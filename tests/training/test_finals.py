"""Finals: which candidates are trained for how long, within which share, and on which images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import smash
from smash import Task
from smash.data.splits import FOLD_SEED, cut_folds
from smash.errors import InvalidValueError
from smash.evaluation import Evaluation, predict
from smash.reporting.contents import read_contents
from smash.reporting.page import page
from smash.run.child import Child
from smash.spaces.mobile import MOBILE_PRESETS, MobileSpace
from smash.training.finals import Finals, describe_finals, hold_finals, plan_rungs, unlike
from smash.training.retrain import retrain
from smash.training.settings import RetrainSettings
from tests.conftest import TINY
from tests.study.candidates import make_candidate


@pytest.mark.parametrize(
    ("candidates", "settings", "rungs"),
    [
        (200, {"epochs": 100, "finalists": 1, "share": 1.0}, []),
        (200, {"epochs": 100, "finalists": 8, "share": 1.0}, [(8, 12), (2, 100)]),
        (200, {"epochs": 100, "finalists": 8, "share": 0.0}, [(8, 1), (2, 100)]),
        (200, {"epochs": 100, "finalists": 17, "share": 0.6}, [(17, 1), (5, 4), (2, 100)]),
        (200, {"epochs": 4, "finalists": 24, "share": 1.0}, [(24, 1), (6, 4), (2, 4)]),
        (3, {"epochs": 100, "finalists": 8, "share": 1.0}, [(3, 100)]),
        (0, {"epochs": 100, "finalists": 8, "share": 1.0}, []),
    ],
)
def test_plan_rungs_keeps_a_quarter_for_longer_and_ends_in_full(candidates, settings, rungs):
    assert plan_rungs(candidates, **settings) == rungs


@given(st.integers(0, 300), st.integers(1, 300), st.integers(1, 64), st.floats(0, 3))
def test_plan_rungs_stays_within_the_share_or_at_an_epoch_each(
    candidates, epochs, finalists, share
):
    rungs = plan_rungs(candidates, epochs, finalists, share)[:-1]  # without the full trainings
    least = plan_rungs(candidates, epochs, finalists, 0.0)[:-1]
    spent, fewest = (sum(count * length for count, length in plan) for plan in (rungs, least))
    assert spent <= max(share * epochs, fewest)


def test_unlike_passes_over_mutants_of_a_better_candidate():
    space = MobileSpace(MOBILE_PRESETS["tiny"], Task(channels=1, size=(8, 8), classes=2))
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(8)]
    families = [[first, *(space.mutate(first, rng, 0.01) for _ in range(3))] for first in drawn]
    ranked = []
    for number, architecture in enumerate(each for family in families for each in family):
        candidate = make_candidate(str(number), float(number))
        candidate.architecture = space.to_json(architecture)
        ranked.append(candidate)
    chosen = unlike(space, ranked, 4)
    assert [each.id for each in chosen] == ["0", "4", "8", "12"]
    filled = [int(each.id) for each in unlike(space, ranked, 12)]
    assert filled == sorted(filled)
    assert len(filled) == 12
    assert {0, 4, 8, 12} <= set(filled)


@pytest.mark.parametrize("side", [4, 8])
def test_finals_train_briefly_on_the_images_of_the_run_and_the_last_in_full(
    digits, tmp_path, command, side
):
    smaller = {"proxy_size": side} if side < 8 else {}
    run = smash.train(digits, tmp_path / "run", epochs=1, **smaller, **TINY)
    smash.search(run, random=6, perturb=0, markov=0, device="cpu")
    asked = "--finalists 5 --epochs 2 --learning-rate 0.05 --augment"
    found = command("retrain", str(run.path), *asked.split(), "--device", "cpu")
    (last,) = (line for line in found.err.splitlines() if line.startswith("Next: smash compare"))
    assert sorted(last.partition(", which")[0].split()[4:]) == sorted(asked.split())
    assert ("inputs shrunk to 4" in found.err) == (side == 4)
    assert len(list(run.path.glob("children/*-4px-brief"))) == (5 if side == 4 else 0)
    finals = Finals.read(run.path / "finals.json")
    assert [(len(rung.finalists), rung.epochs, rung.side) for rung in finals.rungs] == [
        (5, 1, side),
        (2, 2, 8),
    ]
    best = [finalist.id for finalist in finals.rungs[0].finalists[:2]]
    assert sorted(best) == sorted(finalist.id for finalist in finals.rungs[1].finalists)
    brief = sorted(run.path.glob("children/*-brief"))
    assert len(brief) == 5
    for child in map(smash.Child.open, brief):
        assert child.record.size == [side, side]
        found = child.evaluate("val", torch.device("cpu"))
        assert found.error == child.result["brief"].error
    # Two are trained in full, and the better one is the winner; the brief ones are not shipped.
    children = {child.record.id: child for child in smash.Child.of_run(run)}
    assert len(children) == 2
    assert all(child.record.size == [8, 8] for child in children.values())
    val = {name: child.result["val"] for name, child in children.items()}
    assert finals.winner == min(val, key=lambda name: val[name].expected_error)
    contents = read_contents(run.path)
    assert len(contents.children) == 2
    assert contents.winner is not None
    assert contents.winner.id == finals.winner
    words = " ".join(page(contents).split())
    assert f"<b>{finals.winner}</b> came out best in the finals of 5" in words
    assert f"Trained, it errs on <b>{val[finals.winner].error:.2%}</b>" in words


def test_finals_of_full_length_judge_the_last_on_whole_images_in_each_fold(digits, tmp_path):
    run = smash.train(digits, tmp_path / "run", epochs=1, proxy_size=4, **TINY)
    smash.search(run, random=5, perturb=0, markov=0, device="cpu")
    finals = hold_finals(
        run,
        smash.Study(run.study_path).ranked(),
        RetrainSettings(finalists=5, folds=2, epochs=1, device="cpu"),
    )
    assert [(rung.epochs, rung.side) for rung in finals.rungs] == [(1, 4), (1, 8)]
    folders = [f"{each.id}-e1-fold1of2-brief" for each in finals.rungs[-1].finalists]
    children = [smash.Child.open(run.path / "children" / folder) for folder in folders]
    assert all(child.record.size == [8, 8] for child in children)


def test_finals_go_by_the_expected_error_where_the_error_says_otherwise(
    few_digits, tmp_path, monkeypatch
):
    run = smash.train(few_digits, tmp_path / "run", epochs=1, **TINY)
    smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    ranked = smash.Study(run.study_path).ranked()
    trained = [
        Evaluation(
            split="val", examples=20, error=error, expected_error=expected, top5_error=0.0,
            macro_f1=0.9, loss=loss, recall=[0.9],
        )
        for error, expected, loss in ((0.1, 0.3, 1.0), (0.2, 0.25, 1.2), (0.15, 0.4, 0.8))
    ]  # fmt: skip
    monkeypatch.setattr("smash.training.finals._train", lambda *_: trained)
    finals = hold_finals(run, ranked, RetrainSettings(finalists=3, epochs=2, device="cpu"))
    found = finals.rungs[-1].finalists
    assert [each.expected_error for each in found] == [0.25, 0.3, 0.4]
    assert describe_finals(finals)[-1].split(": ")[1].split()[2] == "25.00%,"


def test_finals_of_several_folds_judge_by_the_mean_over_parts_that_were_not_trained_on(
    few_digits, tmp_path, command
):
    run = smash.train(few_digits, tmp_path / "run", epochs=1, **TINY)
    smash.search(run, random=4, perturb=0, markov=0, device="cpu")
    child = retrain(run, finalists=3, folds=3, epochs=1, device="cpu")
    (rung,) = Finals.read(run.path / "finals.json").rungs
    assert (rung.folds, len(rung.finalists)) == (3, 3)
    parts = [part for _, part in cut_folds(few_digits.train, 153 / 200, FOLD_SEED, 2)]
    for finalist in rung.finalists:
        names = ["", "-fold1of3-brief", "-fold2of3-brief"]
        folder = run.path / "children"
        trained = [Child.open(folder / f"{finalist.id}-e1{name}") for name in names]
        wrong = [
            predict(each.model(torch.device("cpu")), part, few_digits.normalise).argmax(1)
            != part.labels
            for each, part in zip(trained, [few_digits.val, *parts], strict=True)
        ]
        errors = [float(each.double().mean()) for each in wrong]
        assert finalist.error == pytest.approx(sum(errors) / 3)
    assert child.record.id == min(rung.finalists, key=lambda one: one.expected_error).id
    assert len(read_contents(run.path).children) == 3  # those of further folds are in no table
    asked = "--finalists 3 --folds 3 --epochs 1"
    found = command("retrain", str(run.path), *asked.split())
    assert "expected validation error, mean of 3 folds: rank" in found.err
    assert "smash compare" in found.err
    assert asked in found.err


def test_more_folds_than_a_class_has_examples_are_refused_before_anything_is_trained(
    few_digits, tmp_path
):
    run = smash.train(few_digits, tmp_path / "run", epochs=1, **TINY)
    smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    fewest = int(torch.bincount(few_digits.train.labels).min())
    message = f"folds must be at most {fewest}, the training examples of the rarest class"
    with pytest.raises(InvalidValueError, match=message):
        retrain(run, finalists=2, folds=fewest + 1, epochs=1, device="cpu")
    assert not list(run.path.glob("children/*"))
    assert len(cut_folds(few_digits.train, 0.5, FOLD_SEED, fewest - 1)) == fewest - 1
