from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

import smash
from smash.errors import AlreadyExistsError, NotFoundError


@pytest.fixture
def ranked(run):
    smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    return run


def test_a_child_is_trained_kept_and_evaluated(ranked):
    child = smash.retrain(ranked, 0, epochs=2, device="cpu")
    assert child.path.name == f"{child.about['id']}-e2"
    found = smash.Child.open(child.path)
    again = found.evaluate("test", torch.device("cpu"))
    assert again.error == child.result["test"]["error"]
    # By hand: load the weights into the built child and count.
    data = ranked.data
    model = ranked.space.build(
        ranked.space.from_json(child.about["architecture"]), data.task, "cpu"
    )
    model.load_state_dict(load_file(child.path / "model.safetensors"))
    with torch.no_grad():
        predicted = model.eval()(data.normalise(data.test.images)).argmax(1)
    assert again.error == pytest.approx((predicted != data.test.labels).double().mean().item())
    assert child.about["mean"] == list(data.mean)
    assert child.about["classes"] == list(data.classes)


def test_generated_weights_begin_where_scoring_ended(ranked):
    study = smash.Study(ranked.study_path)
    child = smash.retrain(ranked, 1, epochs=1, init="generated", learning_rate=1e-12, device="cpu")
    # At no learning rate the weights stay; running statistics move, so errors differ a little.
    expected = study.ranked()[1]
    assert child.about["id"] == expected.id
    assert child.result["val"]["loss"] == pytest.approx(expected.loss, abs=0.3)


def test_a_finished_child_is_kept_and_an_unfinished_one_goes_on(ranked):
    child = smash.retrain(ranked, 0, epochs=2, device="cpu")
    with pytest.raises(AlreadyExistsError):
        smash.retrain(ranked, 0, epochs=2, device="cpu")
    whole = child.result
    (child.path / "result.json").unlink()
    assert smash.retrain(ranked, 0, epochs=2, device="cpu").result == whole


def test_top_trains_briefly_and_then_the_best(ranked):
    child = smash.retrain(ranked, top=2, top_epochs=1, epochs=2, device="cpu")
    brief = sorted((ranked.path / "children").glob("*-e1"))
    assert len(brief) == 2
    errors = {path.name[:12]: smash.Child.open(path).result for path in brief}
    assert all("test" not in result for result in errors.values())
    best = min(result["val"]["error"] for result in errors.values())
    assert errors[child.about["id"]]["val"]["error"] == best


def test_a_rank_that_is_not_there_is_refused(ranked):
    with pytest.raises(NotFoundError, match="ranks go from 0, the best, to 2"):
        smash.retrain(ranked, 3)
